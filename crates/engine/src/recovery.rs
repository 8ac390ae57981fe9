//! What the engine does when it opens: it finds out what runs, and finishes or undoes what was begun.
//!
//! The truth about running containers is with their shims, the truth about what exists is in the database. In order:
//! 1. rows become records, at rest;
//! 2. every shim is asked whose it is. One with a container is taken up: it runs (and is watched on), or it has ended (and
//!    the exit is recorded, with everything that follows from it). One without is ended;
//! 3. networks keep what belongs to those that run: addresses, rules, and what `corten-net` holds;
//! 4. a container that its row (or its bundle and control groups) calls running and that has no shim has ended: the shim's exit record tells how, else it was
//!    lost;
//! 5. restart policies are applied;
//! 6. intents are undone, and everything that no row names is removed: bundles, control groups, layers, files.
//!
//! When the database was lost, nothing that it may have named is removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use store::Origin;
use store::snapshots::Kind as SnapshotKind;

use crate::blocking::blocking;
use crate::clock;
use crate::containers::health;
use crate::containers::record::Record;
use crate::containers::start::SHIM_LINK;
use crate::containers::state::{Run, State};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::restart;
use crate::tasks::{Task, TaskStatus};
use crate::volumes;

/// How long the processes of a container that goes may take to end.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// An exit record is one short line.
const EXIT_RECORD_MAX_BYTES: u64 = 4096;

/// The exit record that a shim writes before it tells anybody.
#[derive(Debug, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) exit_status: i32,
    pub(crate) exited_at_ns: i64,
    #[serde(default)]
    pub(crate) oom_killed: bool,
}

/// What has an owner and stays.
#[derive(Debug, Default)]
struct Kept {
    /// Containers with a shim.
    containers: BTreeSet<String>,
    shims: BTreeSet<PathBuf>,
}

/// Brings memory, database and kernel together.
pub(crate) async fn recover(engine: &Arc<Engine>) -> Result<()> {
    let own = engine.clone();
    let (records, shims) = blocking(move || {
        // A container that has ended meanwhile ends as soon as it is met, and lets go of its ports.
        own.fabric.find_resident();
        Ok::<_, Error>((own.read_rows()?, own.shim_directories()?))
    })
    .await?;
    for record in records {
        engine.index.insert(Arc::new(record));
    }
    // All at once: a thousand shims must not take a thousand round trips.
    let asked: Vec<_> = shims.into_iter().map(|shim| tokio::spawn(meet(engine.clone(), shim))).collect();
    let mut kept = Kept::default();
    for shim in asked {
        if let Ok(Some((container, shim))) = shim.await {
            kept.containers.insert(container);
            kept.shims.insert(shim);
        }
    }
    let own = engine.clone();
    let (kept, begun) = blocking(move || {
        // Before anything is started, which would not be among those that are kept.
        own.recover_networks(&kept.containers);
        (kept, own.begun())
    })
    .await;
    for record in engine.index.all() {
        if kept.containers.contains(&record.id) {
            continue;
        }
        if record.ran || begun.contains(&record.id) {
            engine.clone().end(record, None, Err(Error::ShimLost)).await;
        } else if record.live.borrow().state == State::Restarting {
            engine.clone().restart_after(record.clone(), Duration::ZERO);
        } else {
            start_by_policy(engine, &record);
        }
    }
    engine.resume_committed().await?;
    let own = engine.clone();
    blocking(move || own.sweep(&kept)).await
}

/// Takes up a shim or ends it; the container that it belongs to.
async fn meet(engine: Arc<Engine>, directory: PathBuf) -> Option<(String, PathBuf)> {
    // Without a process behind the socket the directory goes with the sweep, after its exit record was looked at.
    let task = Arc::new(Task::adopt(&directory).await.ok().flatten()?);
    let id = task.container().to_owned();
    let taken_up = match engine.index.by_id(&id) {
        Ok(record) => take_up(&engine, &record, &task).await,
        Err(error) => Err(error),
    };
    match taken_up {
        Ok(()) => Some((id, directory)),
        Err(error) => {
            tracing::warn!(container = id, error = %error.chain(), "a shim is ended");
            discard(&task).await;
            None
        }
    }
}

/// Goes on where the last engine left a container.
async fn take_up(engine: &Arc<Engine>, record: &Arc<Record>, task: &Arc<Task>) -> Result<()> {
    let state = task.state().await?;
    let run = Run {
        pid: state.pid,
        started_ns: record.live.borrow().last.started_ns.unwrap_or_else(clock::now_ns),
    };
    let now = match state.status {
        // The last engine died between creation and start: nobody was told that it runs.
        TaskStatus::Created => return Err(Error::Conflict("it was not started when the daemon died".into())),
        TaskStatus::Running | TaskStatus::Stopped => State::Running(run),
        TaskStatus::Paused => State::Paused(run),
    };
    // It answers at once if the end was before.
    let exit = task.wait("").await?;
    let (own, taken_up) = (engine.clone(), record.clone());
    let network = blocking(move || {
        own.adopt_volumes(&taken_up);
        own.take_up_network(&taken_up)
    })
    .await;
    // A run that the database does not know begins with nothing known.
    let health = if record.ran { record.live.borrow().health.clone() } else { health::at_start(record) };
    record.log_open.send_replace(true);
    record.live.send_modify(|live| {
        live.state = now;
        live.last.started_ns = Some(run.started_ns);
        live.task = Some(task.clone());
        live.network = network;
        live.health = health;
    });
    engine.supervise(record.clone(), task.clone(), exit);
    engine.watch_health(record, run);
    Ok(())
}

/// Ends a shim that has no business any more, with everything that it runs.
async fn discard(task: &Task) {
    // Each of these may have nothing to do; the sweep takes care of what is left.
    drop(task.kill("", crate::signals::SIGKILL).await);
    if let Ok(exit) = task.wait("").await {
        drop(tokio::time::timeout(DISCARD_TIMEOUT, exit.get("wait for a task")).await);
    }
    drop(task.delete("").await);
    task.shutdown().await;
}

fn start_by_policy(engine: &Arc<Engine>, record: &Arc<Record>) {
    let (state, was_stopped) = {
        let live = record.live.borrow();
        (live.state, live.was_stopped)
    };
    if state != State::Exited || !restart::starts_with_engine(record.restart_policy(), was_stopped) {
        return;
    }
    record.live.send_modify(|live| (live.state, live.was_stopped) = (State::Restarting, false));
    engine.clone().restart_after(record.clone(), Duration::ZERO);
}

impl Engine {
    fn shim_directories(&self) -> Result<Vec<PathBuf>> {
        Ok(names(&self.config.state.join("shims"))?.into_iter().map(|(_, path)| path).collect())
    }

    /// The containers with a run that the database may not know of: nobody waits for that commit. They have a bundle and
    /// control groups, and no end, or not the one that is recorded.
    fn begun(&self) -> BTreeSet<String> {
        let is_unrecorded = |id: &String| {
            let Ok(record) = self.index.by_id(id) else { return false };
            let end_ns = read_exit(&self.bundle_path(id).join(SHIM_LINK)).map(|exit| exit.exited_at_ns);
            self.bundle_path(id).exists()
                && (end_ns.is_none() || end_ns != record.live.borrow().last.finished_ns)
        };
        self.cgroups().into_iter().chain(self.cgroups_elsewhere().into_keys()).filter(is_unrecorded).collect()
    }

    /// Undoes what was begun and removes what nobody names.
    fn sweep(&self, kept: &Kept) -> Result<()> {
        for leftover in self.intents.leftovers()? {
            if leftover.note.kind == volumes::MAKE_INTENT
                && self.volume_row(&leftover.note.subject)?.is_none()
            {
                self.remove_volume_files(&leftover.note.subject);
            }
            leftover.finish()?;
        }
        let tasks: BTreeSet<String> =
            self.runtimes.list(None).iter().map(|task| task.id().to_owned()).collect();
        for id in self.cgroups().difference(&kept.containers).filter(|id| !tasks.contains(*id)) {
            self.kill_cgroup(&self.cgroup_path(id));
        }
        for (id, path) in self.cgroups_elsewhere() {
            if !kept.containers.contains(&id) {
                self.kill_cgroup(&path);
            }
        }
        for (id, _) in names(&self.config.state.join("bundles"))? {
            if !kept.containers.contains(&id) {
                self.remove_bundle(&id);
            }
        }
        for shim in self.shim_directories()? {
            if !kept.shims.contains(&shim) {
                self.remove_shim(&shim);
            }
        }
        self.sweep_volumes()?;
        // A database that was lost, or went back in time, does not know everything that has an owner.
        match self.store.recovery().origin {
            Origin::New | Origin::Intact => self.sweep_containers(),
            Origin::Backup { .. } | Origin::Lost { .. } => Ok(()),
        }
    }

    /// Layers and files of containers that have no row, not even a damaged one.
    fn sweep_containers(&self) -> Result<()> {
        let rows = self.store.read(store::containers::list_all)?;
        let ids: BTreeSet<String> = rows.into_iter().map(|row| row.uid).collect();
        // A container that ends just now removes its own; whoever comes second finds nothing, and that is fine.
        for snapshot in self.snapshots().list()? {
            // What a client of the namespace `a` made is called `a/…`.
            if snapshot.name.contains('/') {
                continue;
            }
            // Of a container itself, or `<id>-…` of one of its mounts.
            let owner = snapshot.name.split('-').next().unwrap_or_default();
            if snapshot.kind != SnapshotKind::Committed && !ids.contains(owner) {
                self.remove_layer(&snapshot.name);
            }
        }
        for (id, _) in names(&self.store.layout().containers())? {
            if !ids.contains(&id) {
                self.remove_layer(&id);
            }
        }
        Ok(())
    }
}

/// What is in a directory of ours: names and paths.
fn names(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |source| Error::File { what: "list", path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        names.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(names)
}

/// How a container ended, by the record of its shim.
pub(crate) fn read_exit(directory: &Path) -> Option<ExitRecord> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(directory.join("exit.json")).ok()?;
    file.take(EXIT_RECORD_MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
