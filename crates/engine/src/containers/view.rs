//! A container as clients see it.

use std::sync::Arc;

use super::health::Health;
use super::merge::{args, clean_path};
use super::plan::propagation;
use super::record::Record;
use super::spec::{ContainerSpec, EndpointSpec, Form, MountSpec, TmpfsMount};
use super::state::State;
use crate::engine::{Engine, SNAPSHOTTER};
use crate::error::Result;
use crate::networks::NetworkState;

/// Docker's words for the state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// The state of a container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateView {
    pub status: Status,
    /// In the host's PID namespace; 0 when not running.
    pub pid: u32,
    /// Of the last run; 0 while it runs.
    pub exit_code: i32,
    /// Why the last start failed; else empty.
    pub error: String,
    pub oom_killed: bool,
    pub started_ns: Option<i64>,
    pub finished_ns: Option<i64>,
    /// None: it has no health check, or was never started.
    pub health: Option<Arc<Health>>,
}

/// Everything about a container at one moment.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    /// Without a slash.
    pub name: String,
    pub created_ns: i64,
    pub spec: Arc<ContainerSpec>,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// What is executed: entrypoint and command.
    pub args: Vec<String>,
    pub state: StateView,
    pub restart_count: u32,
    pub mounts: Vec<MountPoint>,
    pub snapshotter: String,
    pub log_path: Option<String>,
    pub hostname_path: String,
    pub hosts_path: String,
    pub resolv_conf_path: String,
    /// Running execs.
    pub exec_ids: Vec<String>,
    /// The networks that it is connected to, or will be when it starts.
    pub endpoints: Vec<EndpointSpec>,
    /// While it runs.
    pub network: Arc<NetworkState>,
}

/// A mount as inspect shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs` or `image`.
    pub kind: &'static str,
    /// Of a volume; else empty.
    pub name: String,
    pub source: String,
    pub destination: String,
    /// The options of the short form (`-v`), as given; else empty.
    pub mode: String,
    pub readonly: bool,
    pub propagation: &'static str,
}

/// What a container takes of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its own layer.
    pub writable_bytes: u64,
    /// With the image's layers.
    pub total_bytes: u64,
}

impl Engine {
    /// The container as it is now.
    pub(crate) fn view(&self, record: &Record) -> Container {
        let spec = &record.current_spec();
        let live = record.live.borrow().clone();
        let etc = self.etc_files(&record.id);
        Container {
            id: record.id.clone(),
            name: record.name(),
            created_ns: record.created_ns,
            spec: spec.clone(),
            image_id: record.image_id.clone(),
            args: args(spec),
            state: StateView {
                status: status(&live.state),
                pid: live.state.run().map_or(0, |run| run.pid),
                exit_code: if live.state.run().is_some() { 0 } else { live.last.code },
                error: live.last.error,
                oom_killed: live.last.oom_killed,
                started_ns: live.last.started_ns,
                finished_ns: live.last.finished_ns,
                health: live.health,
            },
            restart_count: live.restart_count,
            mounts: spec.mounts.iter().filter_map(|mount| self.mount_point(mount)).collect(),
            snapshotter: SNAPSHOTTER.into(),
            log_path: (spec.log.driver == "json-file")
                .then(|| self.log_path(&record.id).display().to_string()),
            hostname_path: etc.hostname.display().to_string(),
            hosts_path: etc.hosts.display().to_string(),
            resolv_conf_path: etc.resolv_conf.display().to_string(),
            exec_ids: self.execs.running(&record.id),
            endpoints: live.endpoints.into_iter().map(|endpoint| self.with_names(endpoint)).collect(),
            network: live.network,
        }
    }

    /// Linked containers by the names that they have now.
    fn with_names(&self, mut endpoint: EndpointSpec) -> EndpointSpec {
        for link in &mut endpoint.links {
            if let Ok(linked) = self.index.by_id(&link.container) {
                link.container = linked.name();
            }
        }
        endpoint
    }

    /// Walks the container's own layer; those of the image were counted when they were unpacked.
    pub(crate) fn disk_usage(&self, id: &str) -> Result<Usage> {
        let snapshots = self.snapshots();
        let writable_bytes = snapshots.usage(id)?.bytes;
        let mut total_bytes = writable_bytes;
        let mut parent = snapshots.stat(id)?.parent;
        while let Some(layer) = parent {
            total_bytes += snapshots.size(&layer)?;
            parent = snapshots.stat(&layer)?.parent;
        }
        Ok(Usage { writable_bytes, total_bytes })
    }

    /// None: Docker does not list a `--tmpfs` among the mounts.
    fn mount_point(&self, mount: &MountSpec) -> Option<MountPoint> {
        let mode = |form: &Form| match form {
            Form::Long => String::new(),
            Form::Short(mode) => mode.clone(),
        };
        let point = MountPoint {
            kind: "",
            name: String::new(),
            source: String::new(),
            destination: clean_path(mount.target()),
            mode: String::new(),
            readonly: false,
            propagation: "",
        };
        Some(match mount {
            MountSpec::Bind(bind) => MountPoint {
                kind: "bind",
                source: bind.source.clone(),
                mode: mode(&bind.form),
                readonly: bind.readonly,
                propagation: propagation(bind.propagation.unwrap_or_default()),
                ..point
            },
            MountSpec::Volume(volume) => MountPoint {
                kind: "volume",
                name: volume.name.clone(),
                source: self.volume_path(&volume.name).display().to_string(),
                mode: match mode(&volume.form) {
                    // What Docker notes for those that say nothing, but not for a path alone.
                    nothing if nothing.is_empty() && (volume.form == Form::Long || !volume.anonymous) => {
                        "z".into()
                    }
                    mode => mode,
                },
                readonly: volume.readonly,
                ..point
            },
            MountSpec::Tmpfs(TmpfsMount { form: Form::Short(_), .. }) => return None,
            MountSpec::Tmpfs(tmpfs) => MountPoint {
                kind: "tmpfs",
                readonly: tmpfs.options.iter().any(|option| option == "ro"),
                ..point
            },
            MountSpec::Image(image) => {
                MountPoint { kind: "image", source: image.image.clone(), readonly: true, ..point }
            }
        })
    }
}

fn status(state: &State) -> Status {
    match state {
        State::Created => Status::Created,
        State::Running(_) => Status::Running,
        State::Paused(_) => Status::Paused,
        State::Restarting => Status::Restarting,
        State::Exited => Status::Exited,
        State::Removing => Status::Removing,
        State::Dead => Status::Dead,
    }
}
