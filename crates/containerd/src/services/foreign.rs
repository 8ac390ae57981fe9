//! Containers that were made at another door (`docker run`), as clients of containerd see them: with the labels by which nerdctl
//! knows its own. They are the engine's: a client can look at them, signal, pause and delete them, and nothing else.

use api::code::Code;
use api::task::Process;
use engine::containers::spec::NetworkMode;
use engine::containers::{Container, ListFilter, RemoveOptions, Status};
use engine::{Namespace, Scope, runtimes};
use oci::platform::Platform;
use store::Labels;
use store::space::containers as space;
use store::space::opaque::Opaque;
use tonic::Result;

use crate::{Door, status};

/// All of a namespace.
pub(super) async fn list(door: &Door, namespace: &str) -> Result<Vec<space::Container>> {
    let filter = ListFilter { all: true, ..ListFilter::default() };
    let found = scope(door, namespace)?.containers().list(&filter).await;
    let found = found.map_err(|error| status::of_engine(&error))?;
    let mut all = Vec::new();
    for container in &found {
        all.extend(seen(door, namespace, container).await?);
    }
    Ok(all)
}

/// The one of that id.
pub(super) async fn get(door: &Door, namespace: &str, id: &str) -> Result<Option<space::Container>> {
    match find(door, namespace, id).await? {
        Some(container) => seen(door, namespace, &container).await,
        None => Ok(None),
    }
}

/// Removes it as its owner would; whether there was one.
pub(super) async fn delete(door: &Door, namespace: &str, id: &str) -> Result<bool> {
    let Some(container) = find(door, namespace, id).await? else { return Ok(false) };
    let removed = scope(door, namespace)?.containers().remove(&container.id, RemoveOptions::default()).await;
    removed.map(|()| true).map_err(|error| status::of_engine(&error))
}

/// The tasks of those that run.
pub(super) async fn tasks(door: &Door, namespace: &str) -> Result<Vec<Process>> {
    let filter = ListFilter { all: true, ..ListFilter::default() };
    let found = scope(door, namespace)?.containers().list(&filter).await;
    let found = found.map_err(|error| status::of_engine(&error))?;
    Ok(found.iter().filter_map(task).collect())
}

/// The task of a container; none for one that does not run, as nerdctl's have none when they are stopped and deleted.
pub(super) fn task(container: &Container) -> Option<Process> {
    let status = match container.state.status {
        Status::Running => api::task::Status::Running,
        Status::Paused => api::task::Status::Paused,
        _ => return None,
    };
    Some(Process {
        id: container.id.clone(),
        pid: container.state.pid,
        status: status.into(),
        terminal: container.spec.terminal,
        ..Process::default()
    })
}

/// Its specification and labels are its owner's.
pub(super) fn refuse(id: &str) -> tonic::Status {
    let text = format!("container {id:?} was made at another door: what it is can be changed only there");
    status::with_suffix(Code::FailedPrecondition, text)
}

/// The engine's container of that id, not of a part of it or of a name.
pub(super) async fn find(door: &Door, namespace: &str, id: &str) -> Result<Option<Container>> {
    match scope(door, namespace)?.containers().inspect(id).await {
        Ok(container) => Ok(Some(container).filter(|container| container.id == id)),
        Err(error) if matches!(error.code(), Code::NotFound | Code::InvalidArgument) => Ok(None),
        Err(error) => Err(status::of_engine(&error)),
    }
}

pub(super) fn scope(door: &Door, namespace: &str) -> Result<Scope> {
    let namespace = Namespace::parse(namespace).map_err(|error| status::of_engine(&error))?;
    Ok(door.engine().within(namespace))
}

/// As a client sees it, unless it was removed meanwhile.
async fn seen(door: &Door, namespace: &str, container: &Container) -> Result<Option<space::Container>> {
    let Ok(spec) = scope(door, namespace)?.containers().run_spec(&container.id).await else {
        return Ok(None);
    };
    Ok(Some(space::Container {
        id: container.id.clone(),
        labels: labels(namespace, container),
        image: container.spec.image.clone(),
        runtime: runtimes::OWN.into(),
        spec: spec.map(|value| Opaque { type_url: api::any::SPEC.into(), value }),
        snapshotter: store::space::snapshots::OVERLAYFS.into(),
        snapshot_key: container.id.clone(),
        created_ns: container.created_ns,
        updated_ns: container.created_ns,
        ..space::Container::default()
    }))
}

/// Its own labels, and what nerdctl writes into those of its containers.
fn labels(namespace: &str, container: &Container) -> Labels {
    let networks: Vec<String> = match &container.spec.network {
        NetworkMode::None => vec!["none".into()],
        NetworkMode::Host => vec!["host".into()],
        NetworkMode::Container(other) => vec![format!("container:{other}")],
        NetworkMode::Networks => {
            container.endpoints.iter().map(|endpoint| endpoint.network.clone()).collect()
        }
    };
    let mut labels = container.spec.labels.clone();
    for (key, value) in [
        ("auto-remove", container.spec.auto_remove.to_string()),
        ("hostname", container.spec.hostname.clone()),
        ("name", container.name.clone()),
        ("namespace", namespace.to_owned()),
        ("networks", serde_json::json!(networks).to_string()),
        ("platform", Platform::host().to_string()),
    ] {
        labels.insert(format!("nerdctl/{key}"), value);
    }
    labels
}
