//! What runc keeps of a container, for those who look there: monitors, hooks of vendors, and `runc` itself.
//!
//! ```text
//! <root>/<namespace>/<id>/state.json   since the container was created, until it is deleted
//! <root>/<namespace>/<id>/exec.fifo    until it is started; `runc state` says `created` as long as it is there
//! ```
//!
//! The root is the option `root`, as for containerd's shim for runc; else it is `runc` beside the daemon's bundles, which is
//! `/run/containerd/runc` for a containerd. Nothing here is read again: the shim knows better.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linux::process;
use oci::runtime_spec::{Linux, NamespaceKind, Spec};
use runtime::Container;
use serde_json::{Map, Value, json};

use crate::log::{self, now_ns};
use crate::shim::Bound;

/// The folder of bundles below a daemon's state.
const TASKS: &str = "io.containerd.runtime.v2.task";
/// In the bundle: the options of the creation, as far as they are needed to find what is kept.
const OPTIONS: &str = "options.json";
const STATE: &str = "state.json";
const NOT_STARTED: &str = "exec.fifo";

/// A container's folder below runc's root.
#[derive(Debug)]
pub(crate) struct RuncState {
    directory: PathBuf,
}

impl RuncState {
    /// Writes down a container that was just created. `root` is the option; without one, and without a daemon's folders, nothing is
    /// kept. The container does without, should it fail.
    pub(crate) fn write(bound: &Bound, root: &str, spec: &Spec, container: &Container) -> Option<RuncState> {
        let state = RuncState::find(bound, Some(root).filter(|root| !root.is_empty()))?;
        let written = state.put_all(bound, root, &document(bound, spec, container));
        written.unwrap_or_else(|error| {
            eprintln!("`{}` was not written: {error}", state.directory.display());
        });
        Some(state)
    }

    fn put_all(&self, bound: &Bound, root: &str, document: &Value) -> io::Result<()> {
        if !root.is_empty() {
            fs::write(bound.bundle.join(OPTIONS), json!({ "root": root }).to_string())?;
        }
        DirBuilder::new().recursive(true).mode(0o711).create(&self.directory)?;
        self.put(NOT_STARTED, b"")?;
        self.put(STATE, document.to_string().as_bytes())
    }

    /// What a shim that died has left.
    pub(crate) fn of_bundle(bound: &Bound) -> Option<RuncState> {
        let options = fs::read(bound.bundle.join(OPTIONS)).unwrap_or_default();
        let options: Value = serde_json::from_slice(&options).unwrap_or_default();
        RuncState::find(bound, options["root"].as_str())
    }

    fn find(bound: &Bound, root: Option<&str>) -> Option<RuncState> {
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        if !is_name(&bound.namespace) || !is_name(&bound.id) {
            return None;
        }
        let root = root.map(PathBuf::from).or_else(|| beside(&bound.bundle))?;
        Some(RuncState { directory: root.join(&bound.namespace).join(&bound.id) })
    }

    /// Whole or not at all.
    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let new = self.directory.join(format!(".{name}"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        fs::rename(new, self.directory.join(name))
    }

    /// The program runs.
    pub(crate) fn started(&self) {
        // Somebody with runc may have deleted it meanwhile.
        drop(fs::remove_file(self.directory.join(NOT_STARTED)));
    }

    /// The container is deleted.
    pub(crate) fn remove(self) {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("`{}` was not removed: {error}", self.directory.display());
            }
            _ => {}
        }
    }
}

/// `<state>/runc`, if the bundle is `<state>/io.containerd.runtime.v2.task/<namespace>/<id>`.
fn beside(bundle: &Path) -> Option<PathBuf> {
    let tasks = bundle.parent()?.parent()?;
    (tasks.file_name()? == TASKS).then(|| Some(tasks.parent()?.join("runc")))?
}

/// The document, with what runc needs to find processes, control groups and namespaces.
fn document(bound: &Bound, spec: &Spec, container: &Container) -> Value {
    let pid = container.pid();
    let linux = spec.linux.clone().unwrap_or_default();
    json!({
        "id": bound.id,
        "init_process_pid": pid,
        "init_process_start": process::start_time_ticks(pid).unwrap_or_default(),
        "created": log::format(now_ns()),
        "config": config(bound, spec, &linux, container.cgroup_path()),
        "rootless": false,
        "cgroup_paths": cgroup_paths(container),
        "namespace_paths": namespace_paths(pid),
        "external_descriptors": ["/dev/null", "/dev/null", "/dev/null"],
        "intel_rdt_path": "",
    })
}

fn config(bound: &Bound, spec: &Spec, linux: &Linux, cgroup: &str) -> Value {
    let namespaces: Vec<Value> = linux
        .namespaces
        .iter()
        .map(|namespace| json!({ "type": name(namespace.kind).0, "path": namespace.path.clone().unwrap_or_default() }))
        .collect();
    let mappings = |list: &[oci::runtime_spec::IdMapping]| -> Vec<Value> {
        let mapping = |one: &oci::runtime_spec::IdMapping| json!({ "container_id": one.container_id, "host_id": one.host_id, "size": one.size });
        list.iter().map(mapping).collect()
    };
    json!({
        "rootfs": bound.bundle.join("rootfs"),
        "readonlyfs": spec.root.as_ref().is_some_and(|root| root.readonly),
        "hostname": spec.hostname,
        "namespaces": namespaces,
        "uid_mappings": mappings(&linux.uid_mappings),
        "gid_mappings": mappings(&linux.gid_mappings),
        // An empty state of the freezer makes runc have resources at all, without which it ends in a panic.
        "cgroups": { "path": cgroup, "freezer": "" },
        "mask_paths": linux.masked_paths,
        "readonly_paths": linux.readonly_paths,
        "version": spec.oci_version,
        "labels": [format!("bundle={}", bound.bundle.display())],
    })
}

/// By the name of each controller; with cgroup v2 alone by the empty name.
fn cgroup_paths(container: &Container) -> Map<String, Value> {
    let mut paths = Map::new();
    for (names, directory) in container.cgroup_directories() {
        for name in names.split(',') {
            let name = if name == "systemd" { "name=systemd" } else { name };
            paths.insert(name.to_owned(), json!(directory));
        }
    }
    paths
}

fn namespace_paths(pid: u32) -> Map<String, Value> {
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Mount,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::User,
        NamespaceKind::Cgroup,
        NamespaceKind::Time,
    ];
    kinds
        .into_iter()
        .map(name)
        .map(|(kind, file)| (kind.to_owned(), json!(format!("/proc/{pid}/ns/{file}"))))
        .collect()
}

/// What runc calls a namespace, and proc(5).
fn name(kind: NamespaceKind) -> (&'static str, &'static str) {
    match kind {
        NamespaceKind::Pid => ("NEWPID", "pid"),
        NamespaceKind::Network => ("NEWNET", "net"),
        NamespaceKind::Mount => ("NEWNS", "mnt"),
        NamespaceKind::Ipc => ("NEWIPC", "ipc"),
        NamespaceKind::Uts => ("NEWUTS", "uts"),
        NamespaceKind::User => ("NEWUSER", "user"),
        NamespaceKind::Cgroup => ("NEWCGROUP", "cgroup"),
        NamespaceKind::Time => ("NEWTIME", "time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bundle: &str, id: &str, root: Option<&str>) -> Option<PathBuf> {
        let bound =
            Bound { namespace: "one".into(), id: id.into(), bundle: bundle.into(), ..Bound::default() };
        RuncState::find(&bound, root).map(|kept| kept.directory)
    }

    #[test]
    fn runcs_root_is_beside_the_bundles_or_where_a_client_says() {
        let bundle = "/run/containerd/io.containerd.runtime.v2.task/one/box";
        assert_eq!(kept(bundle, "box", None), Some("/run/containerd/runc/one/box".into()));
        assert_eq!(kept(bundle, "box", Some("/tmp/x")), Some("/tmp/x/one/box".into()));
        assert_eq!(kept("/some/where/box", "box", None), None);
        for id in ["", "..", "a/b", ".hidden"] {
            assert_eq!(kept(bundle, id, Some("/tmp/x")), None, "{id}");
        }
    }
}
