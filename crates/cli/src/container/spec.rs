//! The flags that describe a container, shared by `run` and `create`, and the request that they become.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::docker::container::{Config, ContainerCreateBody};
use api::docker::host_config::{HostConfig, LogConfig};
use api::docker::{Command as Words, Present};
use clap::Arg;

use super::mounts::Volume;
use super::systemd::{self, Systemd};
use super::{attached, devices, environment, health, limits, mounts, network, resources, security};
use crate::error::Error;
use crate::flags::{Given, Refused, list, switch, value};
use crate::{size, terminal};

/// Everything that `create` asks the daemon for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: Option<String>,
    pub(crate) cid_file: Option<PathBuf>,
    pub(crate) pull: Pull,
    pub(crate) platform: Option<String>,
    /// A pull shows nothing.
    pub(crate) is_quiet: bool,
    pub(crate) systemd: Systemd,
    pub(crate) body: ContainerCreateBody,
}

/// When the image is pulled first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pull {
    Always,
    #[default]
    Missing,
    Never,
}

impl Pull {
    fn parse(text: &str) -> Result<Pull, String> {
        match text {
            "always" => Ok(Pull::Always),
            "missing" | "" => Ok(Pull::Missing),
            "never" => Ok(Pull::Never),
            other => Err(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            )),
        }
    }
}

/// The flags of `run` and `create` alike.
pub(crate) fn flags() -> Vec<Arg> {
    let mut flags = vec![
        list("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
        list("cap-add", "list", "Add Linux capabilities"),
        list("cap-drop", "list", "Drop Linux capabilities"),
        value("cidfile", "string", "Write the container ID to the file"),
        value("domainname", "string", "Container NIS domain name"),
        value("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image"),
        list("env", "list", "Set environment variables").short('e'),
        list("env-file", "list", "Read in a file of environment variables"),
        list("group-add", "list", "Add additional groups to join"),
        value("hostname", "string", "Container host name").short('h'),
        switch("init", "Run an init inside the container that forwards signals and reaps processes"),
        switch("interactive", "Keep STDIN open even if not attached").short('i'),
        value("ipc", "string", "IPC mode to use"),
        list("label", "list", "Set meta data on a container").short('l'),
        list("label-file", "list", "Read in a line delimited file of labels"),
        value("log-driver", "string", "Logging driver for the container"),
        list("log-opt", "list", "Log driver options"),
        list("mount", "mount", "Attach a filesystem mount to the container"),
        value("name", "string", "Assign a name to the container"),
        value("pid", "string", "PID namespace to use"),
        value("platform", "string", "Set platform if server is multi-platform capable"),
        value(
            "pull",
            "string",
            "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")",
        ),
        switch("quiet", "Suppress the pull output").short('q'),
        switch("privileged", "Give extended privileges to this container"),
        switch("read-only", "Mount the container's root filesystem as read only"),
        value("restart", "string", "Restart policy to apply when a container exits (default \"no\")"),
        switch("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
        value("shm-size", "bytes", "Size of /dev/shm"),
        value("stop-signal", "string", "Signal to stop the container"),
        value("stop-timeout", "int", "Timeout (in seconds) to stop a container"),
        list("sysctl", "map", "Sysctl options"),
        list("tmpfs", "list", "Mount a tmpfs directory"),
        switch("tty", "Allocate a pseudo-TTY").short('t'),
        list("ulimit", "ulimit", "Ulimit options"),
        value("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
        value("uts", "string", "UTS namespace to use"),
        list("volume", "list", "Bind mount a volume").short('v'),
        list("volumes-from", "list", "Mount volumes from the specified container(s)"),
        value("workdir", "string", "Working directory inside the container").short('w'),
    ];
    flags.extend(network::flags());
    flags.extend(devices::flags());
    flags.extend(security::flags());
    flags.extend(mounts::flags());
    flags.extend(health::flags());
    flags.extend(resources::flags());
    flags.extend(resources::flags_of_new());
    flags.push(attached::flag());
    flags.push(systemd::flag());
    flags
}

/// Docker's other flags of `run` and `create`.
pub(crate) const REFUSED: Refused = &[
    ("cpu-count", None),
    ("cpu-percent", None),
    ("disable-content-trust", None),
    ("io-maxbandwidth", None),
    ("io-maxiops", None),
    ("use-api-socket", None),
];

/// Reads the flags and the operands (image, command); the streams are left to the caller.
pub(crate) fn read(given: &Given) -> Result<Request, Error> {
    let mut config = config(given)?;
    let mut host = limits_of(given)?;
    resources::apply(given, &mut host)?;
    resources::apply_to_new(given, &mut host)?;
    host.auto_remove = given.switch("rm");
    host.annotations = Some(environment::map(given, "annotation")?).filter(|texts| !texts.is_empty());
    host.init = given.text("init").map(|_| given.switch("init"));
    if host.auto_remove && !matches!(&*host.restart_policy.name, "" | "no") {
        return Err(Error::Conflict("cannot specify both --restart and --rm"));
    }
    namespaces(given, &mut host)?;
    let networking_config = network::apply(given, &mut config, &mut host)?;
    mounted(given, &mut config, &mut host)?;
    security::apply(given, &mut host)?;
    devices::apply(given, &mut host)?;
    host.cap_add = some_list(given, "cap-add");
    host.cap_drop = some_list(given, "cap-drop");
    host.group_add = some_list(given, "group-add");
    host.privileged = given.switch("privileged");
    host.readonly_rootfs = given.switch("read-only");
    host.sysctls = security::sysctls(given)?;
    host.log_config = logging(given)?;
    if config.tty
        && let Some((height, width)) = terminal::size()
    {
        host.console_size = [height.into(), width.into()];
    }
    let cid_file = given.text("cidfile").map(PathBuf::from);
    host.container_id_file = given.text("cidfile").unwrap_or_default().to_owned();
    Ok(Request {
        name: given.text("name").map(str::to_owned),
        cid_file,
        pull: Pull::parse(given.text("pull").unwrap_or_default()).map_err(Error::Value)?,
        platform: given.text("platform").map(str::to_owned),
        is_quiet: given.switch("quiet"),
        systemd: Systemd::read(given)?,
        body: ContainerCreateBody { config, host_config: host, networking_config },
    })
}

fn logging(given: &Given) -> Result<LogConfig, Error> {
    let kind = given.text("log-driver").unwrap_or_default().to_owned();
    let config = environment::map(given, "log-opt")?;
    if kind == "none" && !config.is_empty() {
        return Err(Error::Value("invalid logging opts for driver none".into()));
    }
    Ok(LogConfig { kind, config })
}

/// What would be the same on any host.
fn config(given: &Given) -> Result<Config, Error> {
    let operands = given.operands();
    let (image, command) = operands.split_first().expect("the image was counted");
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    Ok(Config {
        hostname: text("hostname"),
        domainname: text("domainname"),
        user: text("user"),
        tty: given.switch("tty"),
        open_stdin: given.switch("interactive"),
        env: Some(environment::read(given)?).filter(|variables| !variables.is_empty()),
        cmd: Some(Words(command)).filter(|words| !words.0.is_empty()),
        image: (*image).to_owned(),
        working_dir: text("workdir"),
        // An empty entrypoint takes the image's away.
        entrypoint: given.text("entrypoint").map(|word| Words(vec![word.to_owned()])),
        labels: Some(environment::labels(given)?).filter(|labels| !labels.is_empty()),
        stop_signal: text("stop-signal"),
        stop_timeout: given.integer("stop-timeout")?,
        healthcheck: health::read(given)?,
        ..Config::default()
    })
}

fn limits_of(given: &Given) -> Result<HostConfig, Error> {
    let ulimits = given.parsed_list("ulimit", limits::ulimit)?;
    Ok(HostConfig {
        shm_size: given.parsed("shm-size", size::parse)?.unwrap_or(0),
        restart_policy: given.parsed("restart", limits::restart)?.unwrap_or_default(),
        ulimits: (!ulimits.is_empty()).then_some(ulimits),
        ..HostConfig::default()
    })
}

fn namespaces(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let text = |flag| given.text(flag).unwrap_or_default();
    let joins_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let modes: [(&str, &[&str], bool, &str); 3] = [
        ("pid", &["", "host", "private"], true, "--pid: invalid PID mode"),
        ("uts", &["", "host", "private"], false, "--uts: invalid UTS mode"),
        ("ipc", &["", "host", "none", "private", "shareable"], true, "--ipc: invalid IPC mode"),
    ];
    for (flag, known, may_join, complaint) in modes {
        let is_known = known.contains(&text(flag)) || (may_join && joins_container(text(flag)));
        if !is_known {
            return Err(Error::Value(complaint.into()));
        }
    }
    host.pid_mode = text("pid").to_owned();
    host.uts_mode = text("uts").to_owned();
    host.ipc_mode = text("ipc").to_owned();
    Ok(())
}

fn mounted(given: &Given, config: &mut Config, host: &mut HostConfig) -> Result<(), Error> {
    let directory = match given.list("volume").is_empty() && given.list("mount").is_empty() {
        true => PathBuf::new(),
        false => std::env::current_dir().map_err(Error::Input)?,
    };
    let (mut binds, mut anonymous) = (Vec::new(), BTreeMap::new());
    for volume in given.parsed_list("volume", |text| mounts::volume(text, &directory))? {
        match volume {
            Volume::Bind(bind) => binds.push(bind),
            Volume::Anonymous(target) => drop(anonymous.insert(target, Present)),
        }
    }
    let requested = given.parsed_list("mount", |text| mounts::mount(text, &directory))?;
    let tmpfs: BTreeMap<String, String> = given.list("tmpfs").into_iter().map(mounts::tmpfs).collect();
    // Docker's client takes the same words twice for once.
    let mut seen = std::collections::BTreeSet::new();
    binds.retain(|bind| seen.insert(bind.clone()));
    given.text("volume-driver").unwrap_or_default().clone_into(&mut host.volume_driver);
    config.volumes = (!anonymous.is_empty()).then_some(anonymous);
    host.binds = (!binds.is_empty()).then_some(binds);
    host.volumes_from = some_list(given, "volumes-from");
    host.mounts = (!requested.is_empty()).then_some(requested);
    host.tmpfs = (!tmpfs.is_empty()).then_some(tmpfs);
    Ok(())
}

fn some_list(given: &Given, flag: &str) -> Option<Vec<String>> {
    let values: Vec<String> = given.list(flag).into_iter().map(str::to_owned).collect();
    (!values.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::{REFUSED, Request, flags, read};
    use crate::error::Error;
    use crate::flags::{Given, Operands, Usage, parser};
    use serde_json::json;
    use std::ffi::OsString;

    fn request(words: &[&str]) -> Result<Request, Error> {
        let operands = Operands::command_line(1);
        let usage = Usage { path: "corten create".into(), synopsis: "" };
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        read(&Given::parse(usage, parser("create", operands, flags()), REFUSED, &words)?)
    }

    /// The request of `words` as JSON; `fields` must be in it.
    fn assert_fields(words: &[&str], fields: serde_json::Value) {
        let words: Vec<&str> = words.iter().copied().chain(["busybox", "-c", "true"]).collect();
        let body = serde_json::to_value(request(&words).unwrap().body).unwrap();
        assert_eq!((&body["Image"], &body["Cmd"]), (&json!("busybox"), &json!(["-c", "true"])));
        for (field, expected) in fields.as_object().unwrap() {
            let found = body.get(field).unwrap_or(&body["HostConfig"][field]);
            assert_eq!(found, expected, "{field} of {words:?}");
        }
    }

    #[test]
    fn flags_become_the_fields_that_docker_sends() {
        let node = "/dev/null";
        let device = json!([{"PathOnHost": node, "PathInContainer": node, "CgroupPermissions": "rwm"}]);
        let log = json!({"Type": "", "Config": {"max-size": "1m"}});
        let cases: [(&[&str], serde_json::Value); 19] = [
            (&["--init"], json!({"Init": true})),
            (
                &["--health-cmd", "a b", "--health-interval", "1m", "--health-retries", "2"],
                json!({"Healthcheck": {"Test": ["CMD-SHELL", "a b"], "Interval": 60_000_000_000_i64, "Retries": 2}}),
            ),
            (&["--no-healthcheck"], json!({"Healthcheck": {"Test": ["NONE"]}})),
            (&["-it", "--rm"], json!({"Tty": true, "OpenStdin": true, "AutoRemove": true})),
            (&["-e", "A=b", "-l", "x=y"], json!({"Env": ["A=b"], "Labels": {"x": "y"}})),
            (
                &["-v", "data:/data", "-v", "/anon"],
                json!({"Binds": ["data:/data"], "Volumes": {"/anon": {}}}),
            ),
            (
                &["--tmpfs", "/t:size=1m", "--shm-size", "1g"],
                json!({"Tmpfs": {"/t": "size=1m"}, "ShmSize": 1 << 30}),
            ),
            (&["-w", "/srv", "-u", "1:2"], json!({"WorkingDir": "/srv", "User": "1:2"})),
            (&["--group-add", "audio", "-h", "box"], json!({"GroupAdd": ["audio"], "Hostname": "box"})),
            (&["--entrypoint", "sh", "--net", "host"], json!({"Entrypoint": ["sh"], "NetworkMode": "host"})),
            (&["--cap-add", "A", "--cap-drop=ALL"], json!({"CapAdd": ["A"], "CapDrop": ["ALL"]})),
            (&["--read-only", "--privileged"], json!({"ReadonlyRootfs": true, "Privileged": true})),
            (
                &["--security-opt", "no-new-privileges", "--security-opt", "systempaths=unconfined"],
                json!({"SecurityOpt": ["no-new-privileges"], "MaskedPaths": [], "ReadonlyPaths": []}),
            ),
            (
                &["--sysctl", "net.x=1", "--ulimit", "nofile=5"],
                json!({"Sysctls": {"net.x": "1"}, "Ulimits": [{"Name": "nofile", "Hard": 5, "Soft": 5}]}),
            ),
            (&["--device", node, "--log-opt", "max-size=1m"], json!({"Devices": device, "LogConfig": log})),
            (
                &["--pid=host", "--ipc=container:a", "--uts=host"],
                json!({"PidMode": "host", "IpcMode": "container:a", "UTSMode": "host"}),
            ),
            (&["-m", "512m", "--cpus", "1.5"], json!({"Memory": 536_870_912, "NanoCpus": 1_500_000_000})),
            (&["--cpuset-cpus", "0-1", "--pids-limit", "-1"], json!({"CpusetCpus": "0-1", "PidsLimit": -1})),
            (
                &["--stop-signal", "INT", "--stop-timeout", "3", "--restart", "on-failure:2"],
                json!({"StopSignal": "INT", "StopTimeout": 3,
                       "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}),
            ),
        ];
        for (words, fields) in cases {
            assert_fields(words, fields);
        }
        assert_eq!(request(&["--name", "web", "x"]).unwrap().name.as_deref(), Some("web"));
    }

    #[test]
    fn an_empty_entrypoint_is_not_none() {
        let body = request(&["--entrypoint=", "busybox"]).unwrap().body;
        assert_eq!(body.config.entrypoint.unwrap().0, [""]);
        assert_eq!(request(&["busybox"]).unwrap().body.config.entrypoint, None);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let cases: [(&[&str], &str); 12] = [
            (
                &["--no-healthcheck", "--health-retries=1", "x"],
                "--no-healthcheck conflicts with --health-* options",
            ),
            (&["--health-timeout=-1s", "x"], "--health-timeout cannot be negative"),
            (
                &["--health-timeout=1", "x"],
                "invalid argument \"1\" for \"--health-timeout\" flag: time: missing unit in duration \"1\"",
            ),
            (
                &["--rm", "--restart=always", "x"],
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (&["--uts", "foo", "x"], "--uts: invalid UTS mode"),
            (&["--pid", "container:", "x"], "--pid: invalid PID mode"),
            (&["--ipc", "foo", "x"], "--ipc: invalid IPC mode"),
            (&["--network", "container:", "x"], "--network: invalid container format container:<name|id>"),
            (&["--security-opt", "seccomp", "x"], "Invalid --security-opt: \"seccomp\""),
            (&["-m", "abc", "x"], "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'"),
            (
                &["--sysctl", "a", "x"],
                "invalid argument \"a\" for \"--sysctl\" flag: sysctl 'a' is not allowed",
            ),
            (
                &["--stop-timeout", "x", "y"],
                "invalid argument \"x\" for \"--stop-timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ];
        for (words, message) in cases {
            assert_eq!(request(words).unwrap_err().line(), message, "{words:?}");
        }
        assert!(request(&["--rm", "--restart=no", "x"]).is_ok());
    }

    #[test]
    fn every_other_flag_of_docker_is_refused_by_name() {
        for (name, _) in REFUSED {
            let error = request(&[&format!("--{name}"), "x", "y"]).unwrap_err();
            assert_eq!(error.line(), format!("flag --{name} of `corten create` is not there yet"));
            assert_eq!(error.exit_code(), 125);
        }
    }
}
