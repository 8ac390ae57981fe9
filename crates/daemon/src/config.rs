//! `config.toml` and the command line of the daemon.
//!
//! The order is: defaults, the file, the command line. An unknown key is an error with its place, because a key that is
//! silently ignored is a promise that is silently broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::containers::spec::LogSpec;
use serde::Deserialize;

use crate::error::Error;

/// Read when it exists and no other was named.
const DEFAULT_PATH: &str = "/etc/corten/config.toml";

/// More than any configuration needs.
pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;

pub(crate) const USAGE: &str = "\
Usage: corten daemon [OPTIONS]

Options:
  --config FILE        configuration (default /etc/corten/config.toml, if it exists)
  --root DIR           what must survive a reboot (default /var/lib/corten)
  --state DIR          what must not (default /run/corten)
  --log-level LEVEL    error, warn, info or debug
  --log-format FORMAT  text or json
";

/// What `corten config default` prints; a test proves that it is what the code does.
pub(crate) const DEFAULT_TEXT: &str = r#"# Configuration of `corten daemon`; every key with its default.

# Images, containers, volumes: what must survive a reboot. Private to root.
root = "/var/lib/corten"

# Sockets, bundles, shims: what must not survive a reboot. Best on a tmpfs. Private to root.
state = "/run/corten"

# The cgroup that holds all containers, below each hierarchy's root.
cgroup_parent = "/corten"

# The Docker Engine API. Empty: `docker.sock` in the state directory.
docker_socket = ""

# containerd's API. Empty: `corten.sock` in the state directory.
containerd_socket = ""

# The networks, as CNI configuration lists. Empty: /etc/cni/net.d with the default root, else `cni/net.d` below the root.
network_config = ""

# Addresses that containers have, in the files of CNI's host-local. Empty: /var/lib/cni/networks, or `cni/networks` below another root.
network_addresses = ""

# The interface of the default network. Empty: corten0, or `corten-` and eight digits that stand for another root.
network_bridge = ""

# Directories with `<host>/hosts.toml` (mirrors, certificates, headers), in containerd's and Docker's form.
registry_hosts = ["/etc/corten/certs.d", "/etc/containerd/certs.d", "/etc/docker/certs.d"]

# Registries (`host`, `host:port`, or a prefix of addresses) that may be without TLS, or with any certificate. Loopback is one of them.
registry_insecure = []

# Directories with descriptions of devices (`--device vendor/class=name`, `--gpus`); what is in a later one comes first.
cdi_directories = ["/etc/cdi", "/var/run/cdi"]

# The group that may use the Docker Engine API beside root. Who may, is root. Empty: nobody.
docker_group = ""

# The shim's executable. Empty: `corten-shim` beside `corten`.
shim = ""

# Shims that are kept waiting, so that starting a container does not start one. 0 to 32.
spare_shims = 2

# Seconds from the stop signal to the kill, for containers that do not say.
stop_timeout = 10

# The log driver of containers that do not say (fluentd, journald, json-file, local, none, syslog), and the options of all
# containers that have this driver, by Docker's names.
log_driver = "json-file"
log_opts = { max-size = "100m", max-file = "5" }

# The daemon's own log, on standard error: error, warn, info or debug; text or json.
log_level = "info"
log_format = "text"
"#;

/// The daemon's configuration, complete.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) cgroup_parent: String,
    pub(crate) docker_socket: PathBuf,
    pub(crate) docker_group: String,
    pub(crate) containerd_socket: PathBuf,
    pub(crate) network_config: PathBuf,
    pub(crate) network_addresses: PathBuf,
    pub(crate) network_bridge: String,
    pub(crate) registry_hosts: Vec<PathBuf>,
    pub(crate) cdi_directories: Vec<PathBuf>,
    pub(crate) registry_insecure: Vec<String>,
    pub(crate) shim: PathBuf,
    pub(crate) spare_shims: usize,
    pub(crate) stop_timeout: i64,
    pub(crate) log_driver: String,
    pub(crate) log_opts: BTreeMap<String, String>,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
    /// What only containerd's own configuration says.
    #[serde(skip)]
    pub(crate) door: Door,
}

/// How containerd's API is served, and what else its configuration says of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Door {
    /// Who has the socket beside root.
    pub(crate) owner: Option<Owner>,
    /// Where else the ttrpc services are.
    pub(crate) ttrpc: Option<(PathBuf, Option<Owner>)>,
    /// Where metrics are told.
    pub(crate) metrics: Option<SocketAddr>,
    /// Plugins that are not there.
    pub(crate) disabled: BTreeSet<String>,
    /// How soon the kernel kills the daemon when memory is short; 0 is what it was started with.
    pub(crate) oom_score: i32,
    /// The control group that the daemon is in; none is the one that it was started in.
    pub(crate) cgroup: Option<String>,
    /// So many changes are looked at at once for garbage; none is the engine's choice.
    pub(crate) gc_changes: Option<u32>,
    /// How often containers with the restart monitor's labels are looked at; none is the engine's choice.
    pub(crate) restart_interval: Option<Duration>,
}

/// Who has a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// How much the daemon tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// For whom the daemon tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The command line, as far as it was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    config: Option<PathBuf>,
    root: Option<PathBuf>,
    state: Option<PathBuf>,
    log_level: Option<LogLevel>,
    log_format: Option<LogFormat>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            root: "/var/lib/corten".into(),
            state: "/run/corten".into(),
            cgroup_parent: "/corten".into(),
            docker_socket: PathBuf::new(),
            docker_group: String::new(),
            containerd_socket: PathBuf::new(),
            network_config: PathBuf::new(),
            network_addresses: PathBuf::new(),
            network_bridge: String::new(),
            cdi_directories: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).into(),
            registry_hosts: ["corten", "containerd", "docker"]
                .map(|name| format!("/etc/{name}/certs.d").into())
                .into(),
            registry_insecure: Vec::new(),
            shim: PathBuf::new(),
            spare_shims: 2,
            stop_timeout: 10,
            log_driver: "json-file".into(),
            log_opts: [("max-size", "100m"), ("max-file", "5")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            door: Door::default(),
        }
    }
}

impl Config {
    /// Defaults, then the file, then the command line; checked.
    pub(crate) fn load(arguments: &Arguments) -> Result<Config, Error> {
        let mut config = match &arguments.config {
            Some(path) => Config::read(path)?,
            None if Path::new(DEFAULT_PATH).exists() => Config::read(Path::new(DEFAULT_PATH))?,
            None => Config::default(),
        };
        config.root = arguments.root.clone().unwrap_or(config.root);
        config.state = arguments.state.clone().unwrap_or(config.state);
        config.log_level = arguments.log_level.unwrap_or(config.log_level);
        config.log_format = arguments.log_format.unwrap_or(config.log_format);
        config.check()?;
        Ok(config)
    }

    /// Where the Docker Engine API listens.
    pub(crate) fn docker_socket(&self) -> PathBuf {
        self.socket(&self.docker_socket, "docker.sock")
    }

    /// Where containerd's API is.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.socket(&self.containerd_socket, "corten.sock")
    }

    /// The path that was asked for; of none, `name` below the state.
    fn socket(&self, asked: &Path, name: &str) -> PathBuf {
        if asked.as_os_str().is_empty() { self.state.join(name) } else { asked.to_path_buf() }
    }

    /// What is known of registries; the proxies are those of the daemon's own environment.
    pub(crate) fn registries(&self) -> engine::images::RegistryConfig {
        let variable = |name: &str| {
            let lower = name.to_ascii_lowercase();
            [name, &lower].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
        };
        engine::images::RegistryConfig {
            host_directories: self.registry_hosts.clone(),
            insecure: self.registry_insecure.clone(),
            proxies: engine::images::Proxies {
                http: variable("HTTP_PROXY"),
                https: variable("HTTPS_PROXY"),
                no_proxy: variable("NO_PROXY"),
            },
        }
    }

    /// What networks are called and where they are. A second installation, with another root, has everything for itself.
    pub(crate) fn networks(&self) -> engine::FabricConfig {
        let digest = oci::digest::Digest::of(self.root.as_os_str().as_encoded_bytes());
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        let name = format!("corten-{}", &digest.hex()[..8]);
        let mut networks = engine::FabricConfig::below(&self.root, &self.state, &name, program);
        if self.root == Config::default().root {
            networks.configurations = "/etc/cni/net.d".into();
            networks.addresses = "/var/lib/cni/networks".into();
            (networks.bridge, networks.table) = ("corten0".into(), "corten".into());
        }
        for (asked, place) in [
            (&self.network_config, &mut networks.configurations),
            (&self.network_addresses, &mut networks.addresses),
        ] {
            if !asked.as_os_str().is_empty() {
                place.clone_from(asked);
            }
        }
        if !self.network_bridge.is_empty() {
            networks.bridge.clone_from(&self.network_bridge);
        }
        networks
    }

    /// The log of containers that do not say.
    pub(crate) fn log(&self) -> LogSpec {
        LogSpec { driver: self.log_driver.clone(), options: self.log_opts.clone() }
    }

    fn read(path: &Path) -> Result<Config, Error> {
        let failed = |source| Error::ReadConfig { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(failed)?.len();
        if size > MAX_CONFIG_BYTES {
            return Err(failed(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
        }
        Config::parse(path, &fs::read_to_string(path).map_err(failed)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Config, Error> {
        toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            Error::Config {
                path: path.to_owned(),
                line,
                column,
                message: error.message().trim().replace('\n', ", "),
            }
        })
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Usage(what.to_owned()));
        if !self.root.is_absolute() || !self.state.is_absolute() {
            return wrong("`root` and `state` must be absolute paths");
        }
        if self.root == self.state {
            return wrong("`root` and `state` must be different directories");
        }
        let is_cgroup = self.cgroup_parent.len() > 1
            && self.cgroup_parent.starts_with('/')
            && self.cgroup_parent[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_cgroup {
            return wrong("`cgroup_parent` must be an absolute path without `.` and `..`, and not the root");
        }
        // A shim costs memory; more than a burst of starts needs is waste.
        if self.spare_shims > 32 {
            return wrong("`spare_shims` must be at most 32");
        }
        if self.stop_timeout < 0 {
            return wrong("`stop_timeout` must not be negative");
        }
        if let Err(error) = self.log().check() {
            return wrong(&format!("`log_driver` and `log_opts`: {error}"));
        }
        Ok(())
    }
}

/// Line and column, from 1, of a byte of `text`.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

impl Arguments {
    /// Parses what follows `corten daemon`; `--flag value` and `--flag=value` are the same.
    pub(crate) fn parse(words: &[String]) -> Result<Arguments, Error> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (flag, attached) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            if matches!(flag, "-h" | "--help") {
                arguments.help = true;
                continue;
            }
            if !matches!(flag, "--config" | "--root" | "--state" | "--log-level" | "--log-format") {
                return Err(Error::Usage(format!("unknown argument `{word}`\n{USAGE}")));
            }
            let Some(value) = attached.or_else(|| words.next().cloned()) else {
                return Err(Error::Usage(format!("`{flag}` needs a value")));
            };
            arguments.set(flag, &value)?;
        }
        Ok(arguments)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), Error> {
        let unknown = |what: &str| Error::Usage(format!("`{value}` is not a {what}"));
        match flag {
            "--config" => self.config = Some(value.into()),
            "--root" => self.root = Some(value.into()),
            "--state" => self.state = Some(value.into()),
            "--log-level" => {
                self.log_level = Some(match value {
                    "error" => LogLevel::Error,
                    "warn" => LogLevel::Warn,
                    "info" => LogLevel::Info,
                    "debug" => LogLevel::Debug,
                    _ => return Err(unknown("log level: error, warn, info, debug")),
                });
            }
            _ => {
                self.log_format = Some(match value {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(unknown("log format: text, json")),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        assert_eq!(Config::parse(Path::new("x"), DEFAULT_TEXT).unwrap(), Config::default());
        let keys = DEFAULT_TEXT.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(keys, 19, "every field is printed");
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let cases = [
            ("root = \"/a\"\nroots = \"/b\"", "f.toml:2:1: unknown field `roots`"),
            ("root = ", "f.toml:1:"),
            ("\n\nspare_shims = \"two\"", "f.toml:3:15:"),
            ("log_level = \"loud\"", "f.toml:1:13: unknown variant `loud`"),
        ];
        for (text, expected) in cases {
            let message = Config::parse(Path::new("f.toml"), text).unwrap_err().chain();
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn the_command_line_wins_and_is_checked() {
        let arguments =
            Arguments::parse(&words("--root /r --state=/s --log-level debug --log-format=json")).unwrap();
        let config = Config::load(&arguments).unwrap();
        assert_eq!((config.root, config.state), ("/r".into(), "/s".into()));
        assert_eq!((config.log_level, config.log_format), (LogLevel::Debug, LogFormat::Json));
        for wrong in ["--nothing", "--root", "--log-level loud", "--log-format xml", "stray"] {
            assert!(Arguments::parse(&words(wrong)).is_err(), "{wrong}");
        }
        for wrong in ["--root relative", "--root /x --state /x"] {
            assert!(Config::load(&Arguments::parse(&words(wrong)).unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_default_log_that_cannot_be_is_refused() {
        for (text, want) in [
            ("log_driver = \"nope\"", "`log_driver` and `log_opts`: error looking up logging plugin nope"),
            ("log_opts = { foo = \"x\" }", "`log_driver` and `log_opts`: unknown log opt 'foo'"),
        ] {
            let config = Config::parse(Path::new("f.toml"), text).unwrap();
            let message = config.check().unwrap_err().chain();
            assert!(message.starts_with(want), "{message}");
        }
    }

    #[test]
    fn another_root_has_networks_of_its_own() {
        let names = |root: &str| {
            let networks = Config { root: root.into(), ..Config::default() }.networks();
            (networks.configurations.display().to_string(), networks.bridge, networks.table)
        };
        assert_eq!(names("/var/lib/corten"), ("/etc/cni/net.d".into(), "corten0".into(), "corten".into()));
        let (configurations, bridge, table) = names("/srv/other");
        assert_eq!(configurations, "/srv/other/cni/net.d");
        assert!(bridge.len() == 15 && bridge.starts_with("corten-") && bridge == table, "{bridge}");
        assert_ne!(names("/srv/other2").1, bridge);
    }

    #[test]
    fn a_cgroup_parent_never_leaves_or_is_the_root() {
        for wrong in ["", "/", "corten", "/a/../b", "/a//b", "/.", "/a/"] {
            let config = Config { cgroup_parent: wrong.into(), ..Config::default() };
            assert!(config.check().is_err(), "{wrong}");
        }
        for right in ["/corten", "/a/b"] {
            let config = Config { cgroup_parent: right.into(), ..Config::default() };
            assert!(config.check().is_ok(), "{right}");
        }
    }
}
