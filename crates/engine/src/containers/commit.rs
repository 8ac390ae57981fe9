//! Making an image of a container: what it is told to run, and its own layer on top of its image's.
//!
//! Its processes stand still meanwhile, unless that is not wanted. An intent says so: if the daemon is killed, the next one lets
//! them go on.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use oci::digest::Digest;
use oci::image_config::{Healthcheck, RuntimeConfig};
use rustix::fs::{Mode, OFlags};

use super::Containers;
use super::files::COPIES_MAX;
use super::record::Record;
use super::spec::{ContainerSpec, MountSpec};
use super::state::State;
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The kind of the intent of a container whose processes a commit has stopped.
const PAUSE_INTENT: &str = "commit";

/// What image is wanted of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The name it gets.
    pub reference: Option<String>,
    pub author: String,
    pub message: String,
    /// Whether processes run on meanwhile.
    pub keeps_running: bool,
    /// What it is to be told to run. None: what the container is.
    pub config: Option<RuntimeConfig>,
    /// Dockerfile instructions for that.
    pub changes: Vec<String>,
}

impl Containers {
    /// Makes an image of a container; returns its id.
    pub async fn commit(&self, container: &str, request: CommitRequest) -> Result<String> {
        let record = self.find(container)?;
        record.refuse_if_going("commit")?;
        let (message, reference) = (request.message.clone(), request.reference.clone());
        // What was begun comes to its end, also when nobody waits for it any more: somebody may have been paused.
        let work = tokio::spawn(self.engine.clone().commit(record.clone(), request));
        let id = work
            .await
            .map_err(|_| Error::Conflict("the commit failed; the daemon's log says why".into()))??;
        self.engine.sync_layers_later();
        let mut attributes = record.attributes();
        attributes.insert("comment".into(), message);
        attributes.insert("imageID".into(), id.clone());
        attributes.insert("imageRef".into(), reference.unwrap_or_default());
        self.engine.publish_container_with(&record, "commit", attributes);
        Ok(id)
    }
}

impl Engine {
    async fn commit(self: Arc<Self>, record: Arc<Record>, request: CommitRequest) -> Result<String> {
        let _place = self.copies.try_acquire().map_err(|_| {
            Error::Conflict(format!("{COPIES_MAX} copies are under way already; wait until some have ended"))
        })?;
        let is_running = matches!(record.live.borrow().state, State::Running(_));
        if !is_running || request.keeps_running {
            // One at rest neither starts nor goes meanwhile.
            let is_at_rest = record.live.borrow().state.run().is_none();
            let _turn = if is_at_rest { Some(record.turn().await) } else { None };
            return self.clone().commit_layer(record.clone(), request).await;
        }
        let intent = self.intents.begin(PAUSE_INTENT, &record.id)?;
        let paused = self.pause(&record).await;
        let committed = match paused {
            Ok(()) => self.clone().commit_layer(record.clone(), request).await,
            Err(error) => Err(error),
        };
        if matches!(record.live.borrow().state, State::Paused(_))
            && let Err(error) = self.unpause(&record).await
        {
            tracing::warn!(container = record.id, error = %error.chain(), "a container could not be unpaused");
        }
        intent.finish()?;
        committed
    }

    async fn commit_layer(self: Arc<Self>, record: Arc<Record>, request: CommitRequest) -> Result<String> {
        blocking(move || {
            let gone = || Error::NoSuchContainer(record.id.clone());
            let row = self.store.read(|tx| store::containers::get(tx, &record.id))?.ok_or_else(gone)?;
            let manifest =
                Digest::parse(&row.image).map_err(|_| image::Error::NoSuchImage(row.image.clone()))?;
            let directories = self.snapshots().directories(&record.id)?;
            let lowers = directories.lower.iter().map(|path| open(path)).collect::<Result<_>>()?;
            let layers = image::ContainerLayers { upper: open(&directories.upper)?, lowers };
            let options = image::CommitOptions {
                reference: request.reference,
                container: runtime_config(&record.spec),
                config: request.config,
                changes: request.changes,
                created_by: record.spec.command.clone().unwrap_or_default().join(" "),
                message: request.message,
                author: request.author,
            };
            let namespace = record.namespace.as_str();
            Ok(self.images.commit(namespace, &layers, &manifest, &options)?.to_string())
        })
        .await
    }

    /// Lets the processes go on that a commit had stopped when its daemon was killed.
    pub(crate) async fn resume_committed(self: &Arc<Self>) -> Result<()> {
        let engine = self.clone();
        let leftovers = blocking(move || engine.intents.leftovers()).await?;
        for leftover in leftovers.iter().filter(|leftover| leftover.note.kind == PAUSE_INTENT) {
            let Ok(record) = self.index.by_id(&leftover.note.subject) else { continue };
            if matches!(record.live.borrow().state, State::Paused(_))
                && let Err(error) = self.unpause(&record).await
            {
                tracing::warn!(container = record.id, error = %error.chain(), "a container could not be unpaused");
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
        what: "cannot open",
        path: path.to_owned(),
        source: errno.into(),
    })
}

/// What a container is told to run, as an image says it.
fn runtime_config(spec: &ContainerSpec) -> RuntimeConfig {
    let volumes = spec.mounts.iter().filter_map(|mount| match mount {
        MountSpec::Volume(volume) if volume.anonymous => Some(volume.target.clone()),
        _ => None,
    });
    let said = |number: i64| Some(number).filter(|number| *number != 0);
    let healthcheck = spec.health_check.as_ref().map(|check| Healthcheck {
        test: check.test.clone(),
        interval: said(check.interval_ns),
        timeout: said(check.timeout_ns),
        start_period: said(check.start_period_ns),
        start_interval: said(check.start_interval_ns),
        retries: said(check.retries),
    });
    RuntimeConfig {
        user: spec.user.clone(),
        exposed_ports: spec.networking.exposed.iter().map(ToString::to_string).collect(),
        env: spec.env.clone(),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        volumes: volumes.collect(),
        working_dir: spec.working_dir.clone(),
        labels: spec.labels.clone(),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_timeout_s,
        healthcheck,
        shell: Some(spec.shell.clone()).filter(|shell| !shell.is_empty()),
        on_build: Vec::new(),
    }
}
