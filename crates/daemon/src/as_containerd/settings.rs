//! What the daemon does by containerd's configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::docker::moment::parse_duration;
use toml::{Table, Value};

use super::arguments::{Arguments, level};
use super::document::{Document, named, strings};
use super::keys::{
    CRI_IMAGES, CRI_RUNTIME, DEBUG, GC, GRPC, METADATA, METRICS, RESTART, TRANSFER, TTRPC, VERIFIER, find,
    joined,
};
use crate::config::{Config, Door, LogFormat, LogLevel, Owner};
use crate::error::Error;

/// Where containerd looks for registries when nobody says.
const REGISTRY_HOSTS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

/// Scores of `oom_score_adj` (`proc_pid_oom_score_adj(5)`).
const OOM_SCORES: std::ops::RangeInclusive<i64> = -1000..=1000;

/// The daemon's configuration, by that of containerd and the command line.
///
/// # Errors
/// For what cannot be, and for what must not be ignored.
pub(super) fn config(path: &Path, document: &Document, arguments: &Arguments) -> Result<Config, Error> {
    let wrong = |message: String| Error::ContainerdConfig { path: path.to_owned(), message };
    let said = Said(document.complete());
    refuse(&said)?;
    let root = arguments.root.clone().unwrap_or_else(|| said.text("root").into());
    let state = arguments.state.clone().unwrap_or_else(|| said.text("state").into());
    let address = match &arguments.address {
        Some(address) => socket(address),
        None => socket(&said.of(GRPC, "address")),
    }
    .ok_or_else(|| wrong("the address of containerd's API must be an absolute path".into()))?;
    let derived = engine::runtimes::ttrpc_address(&address);
    // An address on the command line moves both.
    let ttrpc = match said.of(TTRPC, "address").as_str() {
        "" => None,
        _ if arguments.address.is_some() => None,
        other => {
            Some(socket(other).ok_or_else(|| wrong("the address of ttrpc must be an absolute path".into()))?)
        }
    };
    let metrics = match said.of(METRICS, "address").as_str() {
        "" => None,
        other => Some(other.parse::<SocketAddr>().map_err(|_| {
            wrong(format!(
                "`{}`: `{other}` is not an address with a port, as `127.0.0.1:1338` is",
                named(&joined(METRICS, "address"))
            ))
        })?),
    };
    let oom_score = said.number("oom_score");
    if !OOM_SCORES.contains(&oom_score) {
        return Err(wrong(format!("`oom_score` is {oom_score}, and must be from -1000 to 1000")));
    }
    let config = Config {
        cgroup_parent: cgroup_parent(&root),
        log_level: log_level(&said, arguments)?,
        log_format: log_format(&said).map_err(wrong)?,
        registry_hosts: registry_hosts(&said),
        cdi_directories: strings(&said.0, &joined(CRI_RUNTIME, "cdi_spec_dirs"))
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        containerd_socket: address,
        door: Door {
            owner: owner(&said, GRPC).map_err(wrong)?,
            ttrpc: ttrpc
                .filter(|path| *path != derived)
                .map(|path| Ok((path, owner(&said, TTRPC)?)))
                .transpose()
                .map_err(wrong)?,
            metrics,
            disabled: strings(&said.0, "disabled_plugins").into_iter().collect(),
            oom_score: i32::try_from(oom_score).expect("it is in range"),
            cgroup: own_cgroup(&said.of("cgroup", "path")).map_err(|error| wrong(error.to_string()))?,
            gc_changes: Some(gc_changes(&said).map_err(wrong)?),
            restart_interval: restart_interval(&said).map_err(wrong)?,
        },
        root,
        state,
        ..Config::default()
    };
    config.check().map_err(|error| wrong(error.to_string()))?;
    required(&said, &config)?;
    Ok(config)
}

/// What is told before the daemon begins, beside what the document says of its keys.
pub(super) fn warnings(document: &Document, config: &Config) -> Vec<String> {
    let said = Said(document.complete());
    let mut warnings = document.notes.clone();
    let images = said.of(&joined(CRI_IMAGES, "registry"), "config_path");
    let transfer = said.of(TRANSFER, "config_path");
    if !transfer.is_empty() && !images.is_empty() && transfer != images {
        warnings.push(format!(
            "two places for registries are named, `{transfer}` and `{images}`; the first counts"
        ));
    }
    for plugin in &config.door.disabled {
        if containerd::plugins().any(|one| one == *plugin) && !containerd::can_be_disabled(plugin) {
            warnings.push(format!("`disabled_plugins`: `{plugin}` is a part of the daemon and stays"));
        }
    }
    if let Some(address) = config.door.metrics.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!("metrics are told at {address} to whoever reaches it"));
    }
    let verifiers = PathBuf::from(said.of(VERIFIER, "bin_dir"));
    if fs::read_dir(&verifiers).is_ok_and(|mut entries| entries.next().is_some()) {
        warnings.push(format!(
            "images are pulled without asking the verifiers in `{}`: that is not built",
            verifiers.display()
        ));
    }
    if config.root.join("io.containerd.metadata.v1.bolt/meta.db").exists() {
        warnings.push(format!(
            "`{}` has images and containers of a containerd; they are not taken over",
            config.root.display()
        ));
    }
    warnings
}

/// What would be a broken promise if it were ignored.
fn refuse(said: &Said) -> Result<(), Error> {
    let not_built = |path: &str, key: &str, why: &str| {
        Err(Error::NotBuilt(format!("`{}` is not built: {why}", named(&joined(path, key)))))
    };
    if !said.of(DEBUG, "address").is_empty() {
        return not_built(DEBUG, "address", "Corten has no profiles of Go's to show");
    }
    if said.of(METADATA, "content_sharing_policy") != "shared" {
        return not_built(
            METADATA,
            "content_sharing_policy",
            "namespaces share the content that they have in common",
        );
    }
    Ok(())
}

fn required(said: &Said, config: &Config) -> Result<(), Error> {
    let is_there = |name: &str| {
        containerd::plugins().any(|one| one == name)
            && !(config.door.disabled.contains(name) && containerd::can_be_disabled(name))
    };
    match strings(&said.0, "required_plugins").into_iter().find(|name| !is_there(name)) {
        Some(missing) => Err(Error::RequiredPlugin(missing)),
        None => Ok(()),
    }
}

fn owner(said: &Said, path: &str) -> Result<Option<Owner>, String> {
    let id = |key: &str| {
        let number = said.number(&joined(path, key));
        u32::try_from(number).map_err(|_| format!("`{}`: {number} is not an id", named(&joined(path, key))))
    };
    let (uid, gid) = (id("uid")?, id("gid")?);
    Ok((uid != 0 || gid != 0).then_some(Owner { uid, gid }))
}

fn log_level(said: &Said, arguments: &Arguments) -> Result<LogLevel, Error> {
    match (arguments.log_level, said.of("debug", "level").as_str()) {
        (Some(level), _) => Ok(level),
        (None, "") => Ok(LogLevel::Info),
        (None, name) => level(name),
    }
}

fn log_format(said: &Said) -> Result<LogFormat, String> {
    match said.of("debug", "format").as_str() {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("`debug.format`: `{other}` is not a format: text, json")),
    }
}

/// Where the transfer service looks; if nobody says, where the CRI would.
fn registry_hosts(said: &Said) -> Vec<PathBuf> {
    let transfer = said.of(TRANSFER, "config_path");
    let path =
        if transfer.is_empty() { said.of(&joined(CRI_IMAGES, "registry"), "config_path") } else { transfer };
    if path.is_empty() {
        return REGISTRY_HOSTS.map(PathBuf::from).into();
    }
    path.split(':').filter(|root| !root.is_empty()).map(PathBuf::from).collect()
}

/// How often the restart monitor looks.
fn restart_interval(said: &Said) -> Result<Option<Duration>, String> {
    let path = joined(RESTART, "interval");
    let text = said.text(&path);
    match parse_duration(&text).map(u64::try_from) {
        // containerd's own for nothing.
        Some(Ok(0)) => Ok(None),
        Some(Ok(nanoseconds)) => Ok(Some(Duration::from_nanos(nanoseconds))),
        _ => Err(format!("`{}`: `{text}` is not a time, as `10s` is", named(&path))),
    }
}

fn gc_changes(said: &Said) -> Result<u32, String> {
    let path = joined(GC, "mutation_threshold");
    let number = said.number(&path);
    // containerd's 0 is never, but for what has an end of its own.
    match u32::try_from(number) {
        Ok(0) => Ok(u32::MAX),
        Ok(threshold) => Ok(threshold),
        Err(_) => Err(format!("`{}`: {number} is not a number of changes", named(&path))),
    }
}

/// The group that the daemon is to be in: below each hierarchy's root, as containerd has it.
fn own_cgroup(path: &str) -> Result<Option<String>, runtime::cgroup::Error> {
    if path.is_empty() {
        return Ok(None);
    }
    let path = format!("/{}", path.trim_start_matches('/'));
    runtime::cgroup::check_path(&path)?;
    Ok(Some(path))
}

/// The group of this daemon's containers. No two daemons may share one: each takes what it finds there for its own.
fn cgroup_parent(root: &Path) -> String {
    if root == Path::new("/var/lib/containerd") {
        return "/corten-containerd".into();
    }
    let digest = oci::digest::Digest::of(root.as_os_str().as_encoded_bytes());
    format!("/corten-{}", &digest.hex()[..8])
}

/// A path, with or without the scheme that clients write before it.
fn socket(address: &str) -> Option<PathBuf> {
    let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(address));
    path.is_absolute().then_some(path)
}

/// A complete document, in which every known key has a value of its type.
struct Said(Table);

impl Said {
    fn text(&self, path: &str) -> String {
        find(&self.0, path).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn of(&self, path: &str, key: &str) -> String {
        self.text(&joined(path, key))
    }

    fn number(&self, path: &str) -> i64 {
        find(&self.0, path).and_then(Value::as_integer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, arguments: &Arguments) -> Result<Config, Error> {
        config(Path::new("f.toml"), &Document::parse(Path::new("f.toml"), text).unwrap(), arguments)
    }

    #[test]
    fn without_a_word_the_paths_are_containerds() {
        let config = of("", &Arguments::default()).unwrap();
        assert_eq!(config.root, Path::new("/var/lib/containerd"));
        assert_eq!(config.state, Path::new("/run/containerd"));
        assert_eq!(config.containerd_socket(), Path::new("/run/containerd/containerd.sock"));
        assert_eq!(config.registry_hosts, REGISTRY_HOSTS.map(PathBuf::from));
        assert_eq!(config.cgroup_parent, "/corten-containerd");
        assert_eq!(
            config.door,
            Door {
                gc_changes: Some(100),
                restart_interval: Some(Duration::from_secs(10)),
                ..Door::default()
            }
        );
    }

    #[test]
    fn what_is_acted_upon_arrives() {
        let text = "version = 2
            root = '/r'
            state = '/s'
            oom_score = -5
            cgroup.path = 'mine'
            disabled_plugins = ['io.containerd.grpc.v1.transfer']
            [grpc]
            address = 'unix:///a.sock'
            gid = 7
            [ttrpc]
            address = '/t.sock'
            uid = 3
            [debug]
            level = 'warn'
            format = 'json'
            [metrics]
            address = '127.0.0.1:1338'
            [plugins.'io.containerd.internal.v1.restart']
            interval = '5s'
            [plugins.'io.containerd.gc.v1.scheduler']
            mutation_threshold = 0
            [plugins.'io.containerd.grpc.v1.cri'.registry]
            config_path = '/one:/two'";
        let config = of(text, &Arguments::default()).unwrap();
        let owner = |uid, gid| Some(Owner { uid, gid });
        assert_eq!(
            config.door,
            Door {
                owner: owner(0, 7),
                ttrpc: Some(("/t.sock".into(), owner(3, 0))),
                metrics: Some("127.0.0.1:1338".parse().unwrap()),
                disabled: ["io.containerd.grpc.v1.transfer".to_owned()].into(),
                oom_score: -5,
                cgroup: Some("/mine".into()),
                gc_changes: Some(u32::MAX),
                restart_interval: Some(Duration::from_secs(5)),
            }
        );
        assert_eq!((config.root, config.state), ("/r".into(), "/s".into()));
        assert_eq!(config.containerd_socket, Path::new("/a.sock"));
        assert_eq!((config.log_level, config.log_format), (LogLevel::Warn, LogFormat::Json));
        assert_eq!(config.registry_hosts, ["/one", "/two"].map(PathBuf::from));
        assert_eq!(config.cgroup_parent, cgroup_parent(Path::new("/r")));
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let arguments = Arguments {
            root: Some("/cr".into()),
            address: Some("/c.sock".into()),
            log_level: Some(LogLevel::Error),
            ..Arguments::default()
        };
        let config =
            of("root = '/r'\nttrpc.address = '/t.sock'\n[debug]\nlevel = 'info'", &arguments).unwrap();
        assert_eq!((config.root, config.log_level), ("/cr".into(), LogLevel::Error));
        assert_eq!((config.containerd_socket, config.door.ttrpc), ("/c.sock".into(), None));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name() {
        for (text, expected) in [
            ("oom_score = 1001", "f.toml: `oom_score` is 1001"),
            (
                "[plugins.'io.containerd.internal.v1.restart']\ninterval = 'soon'",
                "f.toml: `plugins.'io.containerd.monitor.container.v1.restart'.interval`: `soon` is not a time",
            ),
            ("cgroup.path = '/a/../b'", "f.toml: cgroup path `/a/../b` is not valid"),
            ("root = 'relative'", "f.toml: `root` and `state` must be absolute"),
            ("grpc.address = 'relative'", "f.toml: the address of containerd's API"),
            ("grpc.gid = -1", "f.toml: `plugins.'io.containerd.server.v1.grpc'.gid`: -1 is not an id"),
            (
                "metrics.address = 'nowhere'",
                "f.toml: `plugins.'io.containerd.server.v1.metrics'.address`: `nowhere`",
            ),
            ("debug.address = '/d.sock'", "`plugins.'io.containerd.server.v1.debug'.address` is not built"),
            ("debug.level = 'loud'", "`loud` is not a log level"),
            ("debug.format = 'xml'", "f.toml: `debug.format`: `xml`"),
            (
                "plugins.bolt.content_sharing_policy = 'isolated'",
                "`plugins.'io.containerd.metadata.v1.bolt'.content_sharing_policy` is not built",
            ),
            (
                "required_plugins = ['cri']",
                "the plugin `io.containerd.grpc.v1.cri` is required, and is not there",
            ),
            (
                "required_plugins = ['io.containerd.grpc.v1.leases']\ndisabled_plugins = ['io.containerd.grpc.v1.leases']",
                "the plugin `io.containerd.grpc.v1.leases` is required",
            ),
        ] {
            let message = of(text, &Arguments::default()).unwrap_err().chain();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
        assert!(of("required_plugins = ['io.containerd.grpc.v1.tasks']", &Arguments::default()).is_ok());
    }
}
