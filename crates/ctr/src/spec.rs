//! The runtime's document of a container, as containerd's clients make it when nobody asks for anything else: what `ctr`
//! puts into `config.json` (OCI runtime specification 1.2). Pure: nothing is looked up on this machine but by [`flags`].

mod devices;
pub(crate) mod flags;

use oci::platform::Platform;
use serde_json::{Value, json};

use crate::error::Error;
use crate::grammar::Call;
use crate::{documents, output};

/// The capabilities of a container's processes.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What a container may see of the host's kernel no more than this.
const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Major and minor number of the devices that a container may use.
const DEVICES: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(8)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(5)),
    (1, Some(9)),
    (5, Some(1)),
    (136, None),
    (5, Some(2)),
];

const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `ctr oci spec`.
pub(crate) async fn show(call: &Call) -> Result<u8, Error> {
    let platform = call.text("platform");
    let parsed = Platform::parse(if platform.is_empty() { "linux" } else { platform })
        .map_err(|error| Error::Usage(format!("--platform {platform}: {error}")))?;
    if parsed.os != "linux" {
        return Err(Error::Usage(format!("--platform {platform}: only documents of Linux are made here")));
    }
    output::line(&documents::pretty(&bare_spec(call.text("namespace"), ""))).map(|()| 0)
}

/// The document of container `id` in `namespace`, with the devices that every container has.
pub(crate) fn default_spec(namespace: &str, id: &str) -> Value {
    let mut spec = bare_spec(namespace, id);
    array(&mut spec["linux"]["resources"]["devices"]).extend(allowed_devices());
    spec
}

/// The document without devices and without a program: what `ctr oci spec` shows.
pub(crate) fn bare_spec(namespace: &str, id: &str) -> Value {
    let capabilities = json!(CAPABILITIES);
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/run", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "cgroupsPath": format!("/{namespace}/{id}").trim_end_matches('/'),
            "namespaces": namespaces,
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READONLY_PATHS,
        },
    })
}

fn allowed_devices() -> impl Iterator<Item = Value> {
    DEVICES.iter().map(|(major, minor)| match minor {
        Some(minor) => json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"}),
        None => json!({"allow": true, "type": "c", "major": major, "access": "rwm"}),
    })
}

/// The list at `value`, which becomes one where it is none.
fn array(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it has just become a list")
}

/// The fields of the specification's objects in its order, in which clients show a document that they have read.
const ORDER: [(&str, &[&str]); 4] = [
    ("", &["ociVersion", "process", "root", "hostname", "mounts", "hooks", "annotations", "linux"]),
    ("/process", &["terminal", "user", "args", "env", "cwd", "capabilities", "rlimits", "noNewPrivileges"]),
    (
        "/linux",
        &[
            "uidMappings",
            "gidMappings",
            "sysctl",
            "resources",
            "cgroupsPath",
            "namespaces",
            "devices",
            "seccomp",
        ],
    ),
    ("/linux/resources", &["devices", "memory", "cpu"]),
];

/// Puts the fields in order; what has no place in it follows.
pub(crate) fn arrange(spec: &mut Value) {
    for (at, order) in ORDER {
        let Some(object) = spec.pointer_mut(at).and_then(Value::as_object_mut) else { continue };
        let mut rest = std::mem::take(object);
        for key in order {
            if let Some((key, value)) = rest.shift_remove_entry(*key) {
                object.insert(key, value);
            }
        }
        object.extend(rest);
    }
}

/// Removes what is in `object` under `keys`.
fn leave_out(object: &mut Value, keys: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// The variables of the process.
fn variables(spec: &Value) -> Vec<&str> {
    let list = spec["process"]["env"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

/// Adds variables; one that is there is replaced, one without `=` removed.
pub(crate) fn set_env(spec: &mut Value, variables: &[String]) {
    if variables.is_empty() {
        return;
    }
    let env = array(&mut spec["process"]["env"]);
    for variable in variables {
        let name = variable.split('=').next().unwrap_or_default();
        let is_other = |one: &Value| one.as_str().and_then(|one| one.split('=').next()) != Some(name);
        let at = env.iter().position(|one| !is_other(one));
        match (variable.contains('='), at) {
            (true, Some(at)) => env[at] = variable.clone().into(),
            (true, None) => env.push(variable.clone().into()),
            (false, _) => env.retain(is_other),
        }
    }
}

/// What the image's configuration says: variables, the working directory, and its words unless others are given.
pub(crate) fn apply_image(spec: &mut Value, config: &Value, words: &[String]) -> Result<(), String> {
    let texts = |name: &str| -> Vec<String> {
        let list = config[name].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let own = Some(texts("Env")).filter(|own| !own.is_empty());
    set_env(spec, &own.unwrap_or_else(|| vec![SEARCH_PATH.to_owned()]));
    let mut args = texts("Entrypoint");
    args.extend(if words.is_empty() { texts("Cmd") } else { words.to_vec() });
    if args.is_empty() {
        return Err("no arguments specified".to_owned());
    }
    spec["process"]["args"] = json!(args);
    if let Some(folder) = config["WorkingDir"].as_str().filter(|folder| !folder.is_empty()) {
        spec["process"]["cwd"] = folder.into();
    }
    match config["User"].as_str().unwrap_or_default() {
        "" if config.is_null() => Ok(()),
        "" => set_user(spec, "root:root"),
        user => set_user(spec, user),
    }
}

/// The user of the process, as numbers.
pub(crate) fn set_user(spec: &mut Value, user: &str) -> Result<(), String> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    let (uid, gid) = match (uid, gid) {
        ("root", "root") => (0, 0),
        (uid, gid) => match (uid.parse::<u32>(), gid.parse::<u32>()) {
            (Ok(uid), Ok(gid)) => (uid, gid),
            _ => {
                return Err(format!(
                    "user {user:?}: names are not looked up in the image; give numbers as --user 1000:1000"
                ));
            }
        },
    };
    spec["process"]["user"] = json!({"uid": uid, "gid": gid, "additionalGids": [gid]});
    Ok(())
}

/// A mount as `type=bind,src=/tmp,dst=/host,options=rbind:ro`.
pub(crate) fn add_mount(spec: &mut Value, text: &str) -> Result<(), String> {
    let (mut kind, mut source, mut destination, mut options) = ("", "", "", Vec::new());
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("invalid mount specification: expected key=val: {part:?}"))?;
        match key {
            "type" => kind = value,
            "source" | "src" => source = value,
            "destination" | "dst" => destination = value,
            "options" => options = value.split(':').collect(),
            _ => return Err(format!("mount option {key:?} not supported")),
        }
    }
    let mounts = array(&mut spec["mounts"]);
    mounts.retain(|one| one["destination"] != destination || destination.is_empty());
    mounts.push(mount(destination, kind, source, &options));
    Ok(())
}

/// Joins a namespace that exists (`network:/run/netns/a`), or the host's where `path` is empty.
pub(crate) fn set_namespace(spec: &mut Value, kind: &str, path: &str) {
    let namespaces = array(&mut spec["linux"]["namespaces"]);
    let at = namespaces.iter().position(|one| one["type"] == kind);
    match (path.is_empty(), at) {
        (true, Some(at)) => drop(namespaces.remove(at)),
        (true, None) => {}
        (false, Some(at)) => namespaces[at] = json!({"type": kind, "path": path}),
        (false, None) => namespaces.push(json!({"type": kind, "path": path})),
    }
}

#[cfg(test)]
mod tests {
    use super::{add_mount, apply_image, arrange, default_spec, set_env, set_namespace, set_user};
    use serde_json::json;

    #[test]
    fn words_and_variables_come_from_the_image_unless_they_are_given() {
        let mut spec = default_spec("default", "c");
        let config = json!({"Env": ["A=1", "B=2"], "Entrypoint": ["run"], "Cmd": ["fast"], "WorkingDir": "/srv", "User": "7"});
        apply_image(&mut spec, &config, &[]).unwrap();
        assert_eq!(spec["process"]["args"], json!(["run", "fast"]));
        assert_eq!(spec["process"]["cwd"], "/srv");
        assert_eq!(spec["process"]["user"], json!({"uid": 7, "gid": 7, "additionalGids": [7]}));
        set_env(&mut spec, &["A=3".into(), "B".into()]);
        assert_eq!(spec["process"]["env"], json!(["A=3"]));
        apply_image(&mut spec, &json!({"Cmd": ["fast"]}), &["slow".into()]).unwrap();
        assert_eq!(spec["process"]["args"], json!(["slow"]));
        assert!(apply_image(&mut spec, &json!({}), &[]).is_err());
        assert!(set_user(&mut spec, "nobody").is_err());
    }

    #[test]
    fn mounts_and_namespaces_are_ctrs() {
        let mut spec = default_spec("default", "c");
        add_mount(&mut spec, "type=bind,src=/a,dst=/b,options=rbind:ro").unwrap();
        let mount = spec["mounts"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            mount,
            json!({"destination": "/b", "type": "bind", "source": "/a", "options": ["rbind", "ro"]})
        );
        assert!(add_mount(&mut spec, "type").is_err() && add_mount(&mut spec, "kind=bind").is_err());
        set_namespace(&mut spec, "network", "/run/netns/a");
        assert_eq!(spec["linux"]["namespaces"][4], json!({"type": "network", "path": "/run/netns/a"}));
        set_namespace(&mut spec, "network", "");
        assert_eq!(spec["linux"]["namespaces"].as_array().unwrap().len(), 4);
        add_mount(&mut spec, "type=bind,src=/a,dst=/proc").unwrap();
        let procs = spec["mounts"].as_array().unwrap().iter().filter(|one| one["destination"] == "/proc");
        assert_eq!(procs.collect::<Vec<_>>().len(), 1);
    }

    #[test]
    fn fields_are_in_the_order_of_the_specification() {
        let mut spec = json!({"linux": {"other": 1, "seccomp": {}, "resources": {"cpu": {}, "devices": []}}, "process": {"env": [], "args": []}});
        arrange(&mut spec);
        assert_eq!(
            spec.to_string(),
            r#"{"process":{"args":[],"env":[]},"linux":{"resources":{"devices":[],"cpu":{}},"seccomp":{},"other":1}}"#
        );
    }
}
