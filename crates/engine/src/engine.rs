//! The engine: everything that it owns, made once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::Store;
use store::intents::Intents;
use store::snapshots::Snapshotter;
use tokio::sync::{RwLock, watch};

use crate::blocking::blocking;
use crate::containers::files::COPIES_MAX;
use crate::containers::plan::EtcFiles;
use crate::containers::record::{Index, Record};
use crate::containers::spec::LogSpec;
use crate::error::{Error, Result, chain};
use crate::events::{EventFilter, EventStream, Events};
use crate::exchange::Exchange;
use crate::execs;
use crate::gc::Background;
use crate::logs::Watcher;
use crate::networks::fabric::Fabric;
pub use crate::networks::fabric::FabricConfig;
use crate::recovery;
use crate::runtimes::{self, Runtimes};
use crate::tasks::Pool;
use crate::volumes::Mounted;

/// Who made a container, in its row.
pub(crate) const OWNER: &str = "docker";
/// The snapshotter of all containers.
pub(crate) const SNAPSHOTTER: &str = "overlay";

/// How long a stopping engine waits for the cleaning up of runs that have ended; it takes some milliseconds.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Where the engine keeps things and how it behaves when nobody says.
#[derive(Debug, Clone)]
pub struct Config {
    pub root: PathBuf,
    pub state: PathBuf,
    /// Path below the cgroup roots, starting with `/`, that holds all containers.
    pub cgroup_parent: String,
    /// The shim's executable.
    pub shim: PathBuf,
    /// The socket of containerd's API, for shims that publish events; its ttrpc services are at `<address>.ttrpc`.
    pub containerd_address: PathBuf,
    /// Shims that wait, started, for a container.
    pub spare_shims: usize,
    /// The log of containers that do not say.
    pub log: LogSpec,
    pub stop_timeout_s: i64,
    /// How the worker that parses archives and layers is started.
    pub worker: image::WorkerCommand,
    pub network: FabricConfig,
    pub registries: image::registry::Config,
    /// Where vendors describe their devices; in a later one they come first.
    pub cdi_directories: Vec<PathBuf>,
    /// How often it is looked whether containers with the restart monitor's labels run.
    pub restart_interval: Duration,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) intents: Intents,
    pub(crate) images: Arc<image::Images>,
    pub(crate) events: Events,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) index: Index,
    pub(crate) execs: execs::Table,
    pub(crate) fabric: Arc<Fabric>,
    /// Held while networks are made or removed.
    pub(crate) networks_turn: tokio::sync::Mutex<()>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) watcher: Watcher,
    /// Held while volumes are made or removed, so that a container never gets one that is going.
    pub(crate) volumes_turn: tokio::sync::Mutex<()>,
    /// Taken by each worker that copies files of a container.
    pub(crate) copies: tokio::sync::Semaphore,
    /// Volumes that are file systems of their own.
    pub(crate) mounted: Mounted,
    pub(crate) background: Arc<Background>,
    /// Recovery is through: from now on policies may start containers.
    pub(crate) is_open: watch::Sender<bool>,
    is_closing: AtomicBool,
    /// Ends of runs being handled hold it for reading; closing waits until none does.
    pub(crate) ends: Arc<RwLock<()>>,
}

impl Engine {
    /// Opens the store, finishes or undoes what was begun, and finds the containers that run.
    pub async fn open(config: Config) -> Result<Arc<Engine>> {
        let root = config.root.clone();
        let state = config.state.clone();
        let (worker, registries) = (config.worker.clone(), config.registries.clone());
        let (store, images, intents) = blocking(move || {
            let store = Arc::new(Store::open(&root)?);
            let images = Arc::new(image::Images::new(store.clone(), worker, registries)?);
            store::layout::private_dir(&state)?;
            for directory in ["shims", "bundles"] {
                store::layout::private_dir(&state.join(directory))?;
            }
            Ok::<_, Error>((store, images, Intents::open(&state)?))
        })
        .await?;
        let pool = Arc::new(Pool::new(config.shim.clone(), config.state.join("shims"), config.spare_shims));
        let exchange = Arc::<Exchange>::default();
        let runtimes = Arc::new(Runtimes::new(
            runtimes::Config {
                state: config.state.clone(),
                root: config.root.clone(),
                shim: config.shim.clone(),
                address: config.containerd_address.clone(),
            },
            exchange.clone(),
        ));
        let fabric = Arc::new(Fabric::new(config.network.clone()));
        let engine = Arc::new(Engine {
            config,
            fabric,
            networks_turn: tokio::sync::Mutex::default(),
            store,
            intents,
            images,
            events: Events::new(),
            exchange,
            runtimes,
            index: Index::default(),
            execs: execs::Table::default(),
            pool,
            watcher: Watcher::new()?,
            volumes_turn: tokio::sync::Mutex::default(),
            copies: tokio::sync::Semaphore::new(COPIES_MAX),
            mounted: Mounted::default(),
            background: Arc::default(),
            is_open: watch::Sender::new(false),
            is_closing: AtomicBool::new(false),
            ends: Arc::default(),
        });
        // First, because a client may have put a task's control group below ours.
        engine.runtimes.recover().await;
        recovery::recover(&engine).await?;
        engine.is_open.send_replace(true);
        engine.pool.refill();
        engine.keep_house();
        engine.guard_networks();
        engine.monitor_restarts();
        Ok(engine)
    }

    /// Leaves containers running, writes a backup of the database and lets go of everything.
    pub async fn close(&self) -> Result<()> {
        self.is_closing.store(true, Ordering::Relaxed);
        // What does not get done in this time is done by the next start.
        if tokio::time::timeout(CLOSE_PATIENCE, self.ends.write()).await.is_err() {
            tracing::warn!("runs that have ended are still being cleaned up");
        }
        self.pool.close().await;
        let (store, fabric) = (self.store.clone(), self.fabric.clone());
        blocking(move || {
            fabric.rest();
            store.sync_layers()?;
            store.backup()
        })
        .await?;
        Ok(())
    }

    /// The store, for doors whose protocol names what is in it: content, snapshots, leases.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What happens in containerd's terms.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// What happens in all namespaces from now on.
    pub fn all_events(&self) -> EventStream {
        self.events.subscribe(None, None, EventFilter::default())
    }

    /// Tasks of containerd's clients.
    pub fn runtimes(&self) -> &Arc<Runtimes> {
        &self.runtimes
    }

    /// Nothing new is begun any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshots(&self) -> &dyn Snapshotter {
        self.store.snapshots(SNAPSHOTTER).expect("the store has this snapshotter")
    }

    /// What only a run of the container has.
    pub(crate) fn bundle_path(&self, id: &str) -> PathBuf {
        self.config.state.join("bundles").join(id)
    }

    /// The `/dev/shm` that a container shares with others.
    pub(crate) fn shm_path(&self, id: &str) -> PathBuf {
        self.bundle_path(id).join("shm")
    }

    /// What belongs to a container beside its snapshot.
    pub(crate) fn container_path(&self, id: &str) -> PathBuf {
        self.store.layout().containers().join(id)
    }

    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.container_path(id).join("log.json")
    }

    pub(crate) fn etc_files(&self, id: &str) -> EtcFiles {
        let directory = self.container_path(id);
        EtcFiles {
            hostname: directory.join("hostname"),
            hosts: directory.join("hosts"),
            resolv_conf: directory.join("resolv.conf"),
        }
    }

    /// The group of a container: below ours, or below the one that was asked for.
    pub(crate) fn cgroup_of(&self, record: &Record) -> String {
        match record.spec.cgroup_parent.as_str() {
            "" => self.cgroup_path(&record.id),
            // As Docker has it: what does not begin at the root begins there all the same.
            parent => format!("/{}/{}", parent.trim_matches('/'), record.id),
        }
    }

    /// Refuses a parent that is no path, or that recovery would take for a container of ours.
    pub(crate) fn check_cgroup_parent(&self, parent: &str) -> Result<()> {
        if parent.is_empty() {
            return Ok(());
        }
        let path = format!("/{}", parent.trim_matches('/'));
        runtime::cgroup::check_path(&path)
            .map_err(|error| Error::InvalidArgument(format!("invalid cgroup parent: {error}")))?;
        let own = format!("{}/", self.config.cgroup_parent);
        match path.starts_with(&own) {
            true => Err(Error::InvalidArgument(format!(
                "invalid cgroup parent: `{parent}` is below `{own}`, where only containers are, hint: leave it out"
            ))),
            false => Ok(()),
        }
    }

    /// The groups of containers that have another parent than ours, as far as there are some.
    pub(crate) fn cgroups_elsewhere(&self) -> BTreeMap<String, String> {
        let elsewhere = |record: Arc<Record>| {
            let path = self.cgroup_of(&record);
            let is_there =
                !record.spec.cgroup_parent.is_empty() && runtime::cgroup::Cgroup::open(&path).is_ok();
            is_there.then(|| (record.id.clone(), path))
        };
        self.index.all().into_iter().filter_map(elsewhere).collect()
    }

    pub(crate) fn cgroup_path(&self, id: &str) -> String {
        format!("{}/{id}", self.config.cgroup_parent)
    }

    /// Kills what is left of a container that has no shim, and removes its control groups.
    pub(crate) fn kill_cgroup(&self, path: &str) {
        let Ok(cgroup) = runtime::cgroup::Cgroup::open(path) else { return };
        if let Err(error) = cgroup.kill_all().and_then(|()| cgroup.remove()) {
            tracing::warn!(cgroup = path, error = chain(&error), "a control group could not be removed");
        }
    }

    /// The containers that have control groups, in any hierarchy.
    pub(crate) fn cgroups(&self) -> BTreeSet<String> {
        let Ok(parent) = runtime::cgroup::Cgroup::open(&self.config.cgroup_parent) else {
            return BTreeSet::new();
        };
        let directories =
            parent.directories().into_iter().filter_map(|(_, path)| std::fs::read_dir(path).ok());
        let entries = directories.flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Removes the directory of a shim that has ended.
    pub(crate) fn remove_shim(&self, directory: &Path) {
        if let Err(error) = std::fs::remove_dir_all(directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %directory.display(), %error, "a shim's directory could not be removed");
        }
    }
}
