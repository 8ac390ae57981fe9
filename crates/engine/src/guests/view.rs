//! A guest in the words for the engine's own containers: what its client's record, its runtime's document and its shim say.

use std::sync::Arc;

use api::task::StateResponse;
use api::time::of_timestamp;
use oci::runtime_spec::{Spec, SpecMount};
use store::space::containers as space;

use crate::containers::spec::{ContainerSpec, NetworkMode};
use crate::containers::{Container, MountPoint, StateView, Status};

/// What nerdctl calls its containers.
const NAME_LABEL: &str = "nerdctl/name";
/// By which Kubernetes' containers are known.
const POD_LABELS: [&str; 3] =
    ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"];

/// What it is called: as nerdctl calls it, or else its id.
pub(super) fn name(record: &space::Container) -> String {
    let label = |name: &str| record.labels.get(name).filter(|value| !value.is_empty()).cloned();
    if let Some(name) = label(NAME_LABEL) {
        return name;
    }
    match POD_LABELS.map(label) {
        [Some(namespace), Some(pod), Some(container)] => format!("k8s://{namespace}/{pod}/{container}"),
        [Some(namespace), Some(pod), None] => format!("k8s://{namespace}/{pod}"),
        _ => record.id.clone(),
    }
}

/// The whole of it.
pub(super) fn of(record: &space::Container, state: StateView) -> Container {
    let document: Spec =
        record.spec.as_ref().and_then(|kept| serde_json::from_slice(&kept.value).ok()).unwrap_or_default();
    let process = document.process.clone().unwrap_or_default();
    let spec = ContainerSpec {
        image: record.image.clone(),
        command: Some(process.args.clone()),
        env: process.env.clone(),
        working_dir: process.cwd.clone(),
        labels: record.labels.clone(),
        hostname: document.hostname.clone(),
        terminal: process.terminal,
        network: network(&document),
        ..ContainerSpec::default()
    };
    Container {
        id: record.id.clone(),
        name: name(record),
        created_ns: record.created_ns,
        spec: Arc::new(spec),
        image_id: String::new(),
        args: process.args,
        state,
        restart_count: 0,
        mounts: document.mounts.iter().filter(|mount| mount.kind == "bind").map(mount_point).collect(),
        snapshotter: record.snapshotter.clone(),
        log_path: None,
        hostname_path: String::new(),
        hosts_path: String::new(),
        resolv_conf_path: String::new(),
        exec_ids: Vec::new(),
        endpoints: Vec::new(),
        network: Arc::default(),
    }
}

fn network(document: &Spec) -> NetworkMode {
    let namespaces = document.linux.iter().flat_map(|linux| &linux.namespaces);
    let has_own =
        namespaces.into_iter().any(|namespace| namespace.kind == oci::runtime_spec::NamespaceKind::Network);
    if has_own { NetworkMode::None } else { NetworkMode::Host }
}

fn mount_point(mount: &SpecMount) -> MountPoint {
    MountPoint {
        kind: "bind",
        name: String::new(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        mode: String::new(),
        readonly: mount.options.iter().any(|option| option == "ro"),
        propagation: "",
    }
}

/// Without a task; whether it had one once, nobody knows.
pub(super) fn at_rest() -> StateView {
    StateView {
        status: Status::Created,
        pid: 0,
        exit_code: 0,
        error: String::new(),
        oom_killed: false,
        started_ns: None,
        finished_ns: None,
        health: None,
    }
}

/// Its shim does not answer.
pub(super) fn unknown() -> StateView {
    StateView { status: Status::Dead, error: "its shim does not answer".into(), ..at_rest() }
}

/// What its shim says; `created_ns` is when its task was made.
pub(super) fn state(shim: &StateResponse, created_ns: i64) -> StateView {
    use api::task::Status as Shim;
    let status = match shim.status() {
        Shim::Created => Status::Created,
        Shim::Running => Status::Running,
        Shim::Paused | Shim::Pausing => Status::Paused,
        Shim::Stopped => Status::Exited,
        Shim::Unknown => Status::Dead,
    };
    let has_ended = status == Status::Exited;
    StateView {
        status,
        pid: if has_ended { 0 } else { shim.pid },
        exit_code: if has_ended { i32::try_from(shim.exit_status).unwrap_or(i32::MAX) } else { 0 },
        started_ns: Some(created_ns).filter(|_| status != Status::Created),
        finished_ns: shim.exited_at.as_ref().filter(|_| has_ended).map(of_timestamp),
        ..at_rest()
    }
}

#[cfg(test)]
mod tests {
    use store::Labels;
    use store::space::containers as space;

    fn named(labels: &[(&str, &str)]) -> String {
        let labels: Labels =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        super::name(&space::Container { id: "abc".into(), labels, ..space::Container::default() })
    }

    #[test]
    fn a_guest_is_called_as_its_client_calls_it() {
        let pod = [("io.kubernetes.pod.namespace", "kube"), ("io.kubernetes.pod.name", "dns")];
        assert_eq!(named(&[]), "abc");
        assert_eq!(named(&[("nerdctl/name", "web"), ("io.kubernetes.pod.name", "x")]), "web");
        assert_eq!(named(&pod), "k8s://kube/dns");
        assert_eq!(
            named(&[&pod[..], &[("io.kubernetes.container.name", "cache")]].concat()),
            "k8s://kube/dns/cache"
        );
        assert_eq!(named(&pod[..1]), "abc");
    }
}
