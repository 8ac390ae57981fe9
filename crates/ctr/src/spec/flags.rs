//! What the flags of `ctr run` and `ctr containers create` change in the document. Files that flags name are read here.

use std::path::Path;

use oci::runtime_spec::IdMapping;
use serde_json::{Value, json};

use super::devices;
use crate::error::Error;
use crate::grammar::Call;
use crate::labels;

/// How long a period is of which `--cpus` gives a share, in microseconds.
const CPU_PERIOD_US: u32 = 100_000;

type Outcome = Result<(), Error>;

fn wrong(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

/// Applies all flags to `document`.
pub(crate) fn apply(call: &Call, document: &mut Value) -> Outcome {
    environment(call, document)?;
    process(call, document)?;
    filesystem(call, document)?;
    if call.is("privileged") {
        privileged(document, call.is("privileged-without-host-devices"))?;
    } else if call.is("privileged-without-host-devices") {
        return Err(wrong("can't use 'privileged-without-host-devices' without 'privileged' specified"));
    }
    host_network(call, document)?;
    capabilities(call, document)?;
    confinement(call, document)?;
    processors(call, document)?;
    namespaces(call, document)?;
    resources(call, document)?;
    device_nodes(call, document)?;
    for (key, value) in annotations(call.list("annotation"))? {
        document["annotations"][key] = value.into();
    }
    // Labels of the command line are annotations, too: runtimes read these only.
    for (key, value) in labels::parse(call.list("label"), "true") {
        document["annotations"][key] = value.into();
    }
    Ok(())
}

fn annotations(words: &[String]) -> Result<Vec<(String, String)>, Error> {
    let pair = |word: &String| {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| wrong(format!("invalid key=value format annotation: {word}")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { what: format!("read {path}"), source })
}

/// Reads a whole document for the runtime; what the flags reach into are objects in it, or not there.
pub(crate) fn read_config(path: &str) -> Result<Value, Error> {
    const OBJECTS: [&str; 8] = [
        "/process",
        "/process/capabilities",
        "/root",
        "/annotations",
        "/linux",
        "/linux/resources",
        "/linux/resources/memory",
        "/linux/resources/cpu",
    ];
    let document = read_document(path)?;
    match OBJECTS.iter().find(|at| document.pointer(at).is_some_and(|value| !value.is_object())) {
        None => Ok(document),
        Some(at) => {
            Err(Error::Document { what: path.to_owned(), reason: format!("`{at}` is no JSON object") })
        }
    }
}

/// Reads a JSON object.
fn read_document(path: &str) -> Result<Value, Error> {
    let document: Value = serde_json::from_str(&read(path)?)
        .map_err(|error| Error::Document { what: path.to_owned(), reason: error.to_string() })?;
    if !document.is_object() {
        return Err(Error::Document { what: path.to_owned(), reason: "it is no JSON object".into() });
    }
    Ok(document)
}

fn environment(call: &Call, document: &mut Value) -> Outcome {
    if !call.text("env-file").is_empty() {
        let lines: Vec<String> = read(call.text("env-file"))?.lines().map(str::to_owned).collect();
        super::set_env(document, &lines);
    }
    super::set_env(document, call.list("env"));
    Ok(())
}

fn process(call: &Call, document: &mut Value) -> Outcome {
    if !call.text("cwd").is_empty() {
        document["process"]["cwd"] = call.text("cwd").into();
    }
    if !call.text("user").is_empty() {
        super::set_user(document, call.text("user")).map_err(Error::Usage)?;
    }
    if call.is("tty") {
        document["process"]["terminal"] = true.into();
        let has_term = super::variables(document).iter().any(|one| one.starts_with("TERM="));
        if !has_term {
            super::set_env(document, &["TERM=xterm".to_owned()]);
        }
    }
    if call.is("allow-new-privs") {
        super::leave_out(&mut document["process"], &["noNewPrivileges"]);
    }
    if !call.text("rlimit-nofile").is_empty() {
        let text = call.text("rlimit-nofile");
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let number = |part: &str| {
            part.parse::<u64>()
                .map_err(|error| wrong(format!("failed to parse rlimit-nofile {text:?}: {error}")))
        };
        let limit = json!({"type": "RLIMIT_NOFILE", "hard": number(hard)?, "soft": number(soft)?});
        let limits = super::array(&mut document["process"]["rlimits"]);
        limits.retain(|one| one["type"] != "RLIMIT_NOFILE");
        limits.push(limit);
    }
    if !call.text("hostname").is_empty() {
        document["hostname"] = call.text("hostname").into();
    }
    Ok(())
}

fn filesystem(call: &Call, document: &mut Value) -> Outcome {
    for mount in call.list("mount") {
        super::add_mount(document, mount).map_err(Error::Usage)?;
    }
    if call.is("read-only") {
        document["root"]["readonly"] = true.into();
    }
    if !call.text("rootfs-propagation").is_empty() {
        document["linux"]["rootfsPropagation"] = call.text("rootfs-propagation").into();
    }
    Ok(())
}

/// All that this program may do itself, and nothing hidden.
fn privileged(document: &mut Value, without_devices: bool) -> Outcome {
    let all = json!(own_capabilities()?);
    for set in ["bounding", "effective", "permitted"] {
        document["process"]["capabilities"][set] = all.clone();
    }
    super::leave_out(&mut document["linux"], &["maskedPaths", "readonlyPaths", "seccomp", "mountLabel"]);
    super::leave_out(&mut document["process"], &["selinuxLabel", "apparmorProfile"]);
    for mount in super::array(&mut document["mounts"]) {
        if mount["type"] == "sysfs" || mount["type"] == "cgroup" {
            for option in super::array(&mut mount["options"]).iter_mut().filter(|option| **option == "ro") {
                *option = "rw".into();
            }
        }
    }
    if without_devices {
        return Ok(());
    }
    document["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    let found = devices::at(Path::new("/dev"))
        .map_err(|source| Error::File { what: "list the devices below /dev".into(), source })?;
    super::array(&mut document["linux"]["devices"]).extend(found);
    Ok(())
}

/// The capabilities of this program.
fn own_capabilities() -> Result<Vec<&'static str>, Error> {
    let status = read("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).ok_or_else(|| {
        Error::Document { what: "/proc/self/status".into(), reason: "it has no line `CapEff`".into() }
    })?;
    let all = ::runtime::defaults::capabilities::ALL;
    Ok(all.into_iter().zip(0..).filter(|(_, number)| mask >> number & 1 == 1).map(|(name, _)| name).collect())
}

fn host_network(call: &Call, document: &mut Value) -> Outcome {
    if !call.is("net-host") {
        return Ok(());
    }
    super::set_namespace(document, "network", "");
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        super::add_mount(document, &format!("type=bind,src={file},dst={file},options=rbind:ro"))
            .map_err(Error::Usage)?;
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    super::set_env(document, &[format!("HOSTNAME={name}")]);
    Ok(())
}

fn capabilities(call: &Call, document: &mut Value) -> Outcome {
    let (added, dropped) = (call.list("cap-add"), call.list("cap-drop"));
    if added.iter().chain(dropped).any(|name| !name.starts_with("CAP_")) {
        return Err(wrong("capabilities must be specified with 'CAP_' prefix"));
    }
    if added.is_empty() && dropped.is_empty() {
        return Ok(());
    }
    for set in ["bounding", "effective", "permitted"] {
        let names = super::array(&mut document["process"]["capabilities"][set]);
        for name in added {
            if !names.contains(&json!(name)) {
                names.push(json!(name));
            }
        }
        names.retain(|name| !dropped.iter().any(|dropped| name == dropped));
    }
    Ok(())
}

fn confinement(call: &Call, document: &mut Value) -> Outcome {
    let profile = call.text("seccomp-profile");
    if call.is("seccomp") {
        document["linux"]["seccomp"] = match profile {
            "" => default_filter(document)?,
            path => read_document(path)?,
        };
    } else if !profile.is_empty() {
        return Err(wrong("seccomp must be set to true, if using a custom seccomp-profile"));
    }
    if !call.text("apparmor-profile").is_empty() {
        document["process"]["apparmorProfile"] = call.text("apparmor-profile").into();
    }
    if !call.text("rdt-class").is_empty() {
        document["linux"]["intelRdt"] = json!({"closID": call.text("rdt-class")});
    }
    Ok(())
}

/// The filter for what the process may do: the capabilities are set before.
fn default_filter(document: &Value) -> Result<Value, Error> {
    let names = document["process"]["capabilities"]["bounding"].as_array().cloned().unwrap_or_default();
    let names: Vec<String> = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    serde_json::to_value(::runtime::seccomp::default_profile(&names)).map_err(|error| Error::Document {
        what: "the filter of system calls".into(),
        reason: error.to_string(),
    })
}

fn processors(call: &Call, document: &mut Value) -> Outcome {
    let cpus: f64 = call.text("cpus").parse().unwrap_or(0.0);
    let (quota, period) = (call.text("cpu-quota"), call.text("cpu-period"));
    let limits_time = call.integer("cpu-quota") != -1 && !quota.is_empty() || !matches!(period, "" | "0");
    if cpus > 0.0 && limits_time {
        return Err(wrong("cpus and quota/period should be used separately"));
    }
    let mut cpu = document["linux"]["resources"]["cpu"].as_object().cloned().unwrap_or_default();
    // A document that is whole says itself what nobody asks for.
    let is_wanted = call.has("cpu-shares") || call.text("config").is_empty();
    if is_wanted && call.integer("cpu-shares") > 0 {
        cpu.insert("shares".into(), call.integer("cpu-shares").into());
    }
    if cpus > 0.0 {
        // Written without a fraction; more than fits is more than any machine has.
        let quota = (cpus * f64::from(CPU_PERIOD_US)).trunc().to_string();
        cpu.insert("quota".into(), quota.parse().unwrap_or(i64::MAX).into());
        cpu.insert("period".into(), CPU_PERIOD_US.into());
    }
    if limits_time {
        cpu.insert("quota".into(), quota.parse().unwrap_or(-1_i64).into());
        cpu.insert("period".into(), period.parse().unwrap_or(0_u64).into());
    }
    for (flag, key) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
        if !call.text(flag).is_empty() {
            cpu.insert(key.into(), call.text(flag).into());
        }
    }
    if !cpu.is_empty() {
        document["linux"]["resources"]["cpu"] = cpu.into();
    }
    Ok(())
}

fn namespaces(call: &Call, document: &mut Value) -> Outcome {
    const KINDS: [&str; 7] = ["pid", "network", "uts", "mount", "user", "ipc", "cgroup"];
    for namespace in call.list("with-ns") {
        let (kind, path) = namespace.split_once(':').ok_or_else(|| {
            wrong("joining a Linux namespace using --with-ns requires the format 'nstype:path'")
        })?;
        if !KINDS.contains(&kind) {
            return Err(wrong(format!(
                "the Linux namespace type specified in --with-ns is not valid: {kind}"
            )));
        }
        super::set_namespace(document, kind, path);
    }
    let (users, groups) = (mappings(call.list("uidmap"))?, mappings(call.list("gidmap"))?);
    if users.is_empty() != groups.is_empty() {
        return Err(wrong("--uidmap and --gidmap go together"));
    }
    if !users.is_empty() {
        let list = super::array(&mut document["linux"]["namespaces"]);
        if !list.iter().any(|one| one["type"] == "user") {
            list.push(json!({"type": "user"}));
        }
        super::array(&mut document["linux"]["uidMappings"]).extend(users);
        super::array(&mut document["linux"]["gidMappings"]).extend(groups);
    }
    Ok(())
}

/// Ranges as `container-id:host-id:size`.
fn mappings(words: &[String]) -> Result<Vec<Value>, Error> {
    let mapping = |word: &String| match IdMapping::parse(word) {
        Some(IdMapping { container_id, host_id, size }) => {
            Ok(json!({"containerID": container_id, "hostID": host_id, "size": size}))
        }
        None => Err(wrong(format!(
            "user namespace mappings require the format `container-id:host-id:size`: {word:?}"
        ))),
    };
    words.iter().map(mapping).collect()
}

fn resources(call: &Call, document: &mut Value) -> Outcome {
    if call.integer("memory-limit") > 0 {
        document["linux"]["resources"]["memory"]["limit"] = call.integer("memory-limit").into();
    }
    // An empty path is given, too: the container has no cgroup of its own then.
    match (call.has("cgroup"), call.text("cgroup")) {
        (false, _) => {}
        (true, "") => super::leave_out(&mut document["linux"], &["cgroupsPath"]),
        (true, path) => document["linux"]["cgroupsPath"] = path.into(),
    }
    Ok(())
}

fn device_nodes(call: &Call, document: &mut Value) -> Outcome {
    for path in call.list("device") {
        if oci::cdi::QualifiedName::parse(path).is_some() {
            return Err(wrong(format!(
                "--device {path}: devices of the Container Device Interface are not supported here; `corten run --device` has them"
            )));
        }
        let found = devices::at(Path::new(path))
            .map_err(|source| Error::File { what: format!("device {path}"), source })?;
        super::array(&mut document["linux"]["resources"]["devices"]).extend(found.iter().map(devices::rule));
        super::array(&mut document["linux"]["devices"]).extend(found);
    }
    Ok(())
}
