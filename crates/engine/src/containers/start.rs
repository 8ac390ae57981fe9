//! Start: from a container at rest to its running first process.
//!
//! One blocking step prepares everything on disk and in memory ([`prepare`]), one exchange with a spare shim runs it.
//! The bundle (`<state>/bundles/<uid>`) is the intent of the run: it is there before the first effect and goes with the
//! last, so that the next engine knows what to undo (see `recovery`).

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::shim::CreateOptions;
use rustix::mount::MountFlags;
use tokio::task::JoinHandle;

use super::plan::{self, EtcFiles, Surroundings};
use super::record::{Live, Record};
use super::sources::{Sources, unmount_images};
use super::spec::{ContainerSpec, IpcMode, MountSpec, NetworkMode, PidMode, UtsMode};
use super::state::{Run, StartVerdict, State, may_start};
use super::{cdi, devices, health};
use crate::blocking::blocking;
use crate::clock;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::logs;
use crate::networks::LOCAL_HOSTS;
use crate::networks::fabric::Connection;
use crate::restart::Backoff;
use crate::tasks::{Launch, Launched, Task};

/// A link in the bundle to the directory of its shim.
pub(crate) const SHIM_LINK: &str = "shim";

/// Who wants the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartedBy {
    Client,
    /// Only if the container still waits for it.
    Policy,
}

/// The processes whose namespaces a container shares, and what else other containers lend it.
#[derive(Debug, Default)]
struct Shared {
    network_pid: Option<u32>,
    pid_pid: Option<u32>,
    ipc_pid: Option<u32>,
    shm: Option<PathBuf>,
    etc: Option<EtcFiles>,
}

impl Engine {
    /// Starts a container. Ok(false): it runs already.
    pub(crate) async fn start(self: &Arc<Self>, record: &Arc<Record>, by: StartedBy) -> Result<bool> {
        let mut turn = record.turn().await;
        let state = record.live.borrow().state;
        match may_start(&state) {
            StartVerdict::Start => {}
            StartVerdict::AlreadyRunning => return Ok(false),
            StartVerdict::Refuse(why) => return Err(Error::Conflict(why.to_owned())),
        }
        match by {
            StartedBy::Policy if state != State::Restarting => return Ok(false),
            StartedBy::Policy => record.live.send_modify(|live| live.restart_count += 1),
            StartedBy::Client => {
                turn.backoff = Backoff::default();
                record.live.send_modify(|live| (live.restart_count, live.was_stopped) = (0, false));
            }
        }
        let started_ns = clock::now_ns();
        match self.launch(record).await {
            Ok(launched) => {
                turn.storing = Some(self.began(record, launched, started_ns).await);
                Ok(true)
            }
            Err(error) => {
                drop(record.take_pending());
                self.start_failed(record, &error).await;
                drop(turn);
                if record.spec.auto_remove {
                    self.auto_remove(record).await;
                }
                Err(error)
            }
        }
    }

    async fn launch(self: &Arc<Self>, record: &Arc<Record>) -> Result<Launched> {
        let shared = self.shared(record)?;
        let spare = self.pool.take().await?;
        let (engine, own, shim) = (self.clone(), record.clone(), spare.directory().to_owned());
        let launched = match blocking(move || engine.prepare(&own, shared, &shim)).await {
            Ok((mut launch, connection)) => {
                launch.attaches = record.take_pending();
                launch.attaches.retain(|pending| pending.is_wanted());
                launch.options.wait_attach = launch.attaches.len() == 1;
                let launched = Task::launch(spare, &record.id, launch).await;
                match (&launched, connection) {
                    (Ok(_), Some(connection)) => {
                        let network = connection.keep();
                        record.live.send_modify(|live| live.network = network);
                    }
                    // What fails takes its network along.
                    (_, connection) => blocking(move || drop(connection)).await,
                }
                launched
            }
            Err(error) => {
                self.pool.put(spare).await;
                Err(error)
            }
        };
        if launched.is_err() {
            let (engine, id) = (self.clone(), record.id.clone());
            blocking(move || engine.remove_bundle(&id)).await;
            // The shim that failed with it is replaced.
            self.pool.refill();
        }
        launched
    }

    /// The container runs: says so everywhere and begins to wait for its end. Nobody waits for the commit that is returned:
    /// the bundle and the shim tell recovery as much.
    async fn began(
        self: &Arc<Self>,
        record: &Arc<Record>,
        launched: Launched,
        started_ns: i64,
    ) -> JoinHandle<()> {
        let Launched { task, pid, exit } = launched;
        let task = Arc::new(task);
        let run = Run { pid, started_ns };
        let health = health::at_start(record);
        record.log_open.send_replace(true);
        record.live.send_modify(|live| {
            live.state = State::Running(run);
            live.health = health;
            live.last.error.clear();
            live.last.started_ns = Some(run.started_ns);
            live.task = Some(task.clone());
        });
        self.publish_volumes(record, "mount");
        self.publish_endpoints(record, "connect");
        self.publish_container(record, "start");
        let (engine, own) = (self.clone(), record.clone());
        let storing = tokio::spawn(blocking(move || {
            engine.tell_linked(&own);
            engine.store_state(&own, store::Commit::Ordered);
        }));
        // Attached while we were busy; what they missed is in the log.
        for pending in record.take_pending() {
            let stream = task.attach("", pending.options()).await;
            pending.connect(stream);
        }
        self.supervise(record.clone(), task, exit);
        self.watch_health(record, run);
        self.pool.refill();
        storing
    }

    async fn start_failed(self: &Arc<Self>, record: &Arc<Record>, error: &Error) {
        let code = error.exit_code().unwrap_or(crate::error::EXIT_NOT_STARTED);
        record.live.send_modify(|live: &mut Live| {
            live.last.code = code;
            live.last.error = error.chain();
            // A restart that fails is not tried again: what fails at the start fails each time.
            if live.state == State::Restarting {
                live.state = State::Exited;
            }
        });
        let (engine, own) = (self.clone(), record.clone());
        blocking(move || engine.store_state(&own, store::Commit::Ordered)).await;
    }

    /// What other containers lend.
    fn shared(&self, record: &Record) -> Result<Shared> {
        let spec = &record.spec;
        let mut shared = Shared::default();
        if let NetworkMode::Container(other) = &spec.network {
            let other = self.running(other)?;
            shared.network_pid = Some(other.1);
            shared.etc = Some(self.etc_files(&other.0.id));
        }
        if let PidMode::Container(other) = &spec.pid {
            shared.pid_pid = Some(self.running(other)?.1);
        }
        match &spec.ipc {
            IpcMode::Container(other) => {
                let (other, pid) = self.running(other)?;
                if other.spec.ipc != IpcMode::Shareable {
                    return Err(Error::InvalidArgument(format!(
                        "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                        other.id
                    )));
                }
                shared.ipc_pid = Some(pid);
                shared.shm = Some(self.shm_path(&other.id));
            }
            IpcMode::Host => shared.shm = Some("/dev/shm".into()),
            IpcMode::Shareable => shared.shm = Some(self.shm_path(&record.id)),
            IpcMode::Private | IpcMode::None => {}
        }
        Ok(shared)
    }

    fn running(&self, container: &str) -> Result<(Arc<Record>, u32)> {
        let record = self.index.by_id(container)?;
        let run = record.live.borrow().state.run();
        match run {
            Some(run) => Ok((record, run.pid)),
            None => Err(Error::Conflict(format!(
                "cannot join namespaces of a non running container: {container}"
            ))),
        }
    }

    /// Everything that a run needs on disk; and the message that asks for it.
    fn prepare(&self, record: &Record, shared: Shared, shim: &Path) -> Result<(Launch, Option<Connection>)> {
        let spec = &record.current_spec();
        let bundle = self.bundle_path(&record.id);
        std::fs::DirBuilder::new().mode(0o700).create(&bundle).map_err(|source| Error::File {
            what: "make the bundle",
            path: bundle.clone(),
            source,
        })?;
        // Recovery looks here for the exit record of a shim that is gone.
        std::os::unix::fs::symlink(shim, bundle.join(SHIM_LINK)).map_err(|source| Error::File {
            what: "note the shim in",
            path: bundle.clone(),
            source,
        })?;
        if spec.ipc == IpcMode::Shareable {
            mount_shm(&self.shm_path(&record.id), spec)?;
        }
        let hostname = self.hostname(spec);
        let connection = self.connect(record)?;
        let etc = match (shared.etc, &connection) {
            (Some(etc), _) => etc,
            (None, Some(connection)) => {
                let texts = self.network_texts(record, &connection.state, &connection.resolution, &hostname);
                self.write_etc(&record.id, &hostname, &texts)?
            }
            (None, None) => self.write_etc(&record.id, &hostname, &EtcTexts::of_host(spec))?,
        };
        for mount in &spec.mounts {
            if let MountSpec::Bind(bind) = mount {
                ensure_source(&bind.source, bind.create_source)?;
            }
        }
        let Sources { paths, held } = self.open_sources(record, &bundle)?;
        let injected = cdi::find(&spec.device_requests, &self.config.cdi_directories)?;
        let (devices, device_rules) = devices::find(spec, injected.devices)?;
        let around = Surroundings {
            hostname,
            cgroup_path: self.cgroup_of(record),
            etc,
            sources: paths,
            shm: shared.shm,
            network_namespace: connection.as_ref().map(|connection| connection.namespace.path()),
            network_pid: shared.network_pid,
            pid_pid: shared.pid_pid,
            ipc_pid: shared.ipc_pid,
            devices,
            device_rules,
            injected_env: [self.link_env(record), injected.env].concat(),
            injected_mounts: injected.mounts,
            block_io: devices::block_io(&spec.resources)?,
            open_files_max: open_files_max(),
            init: self.config.shim.clone(),
        };
        let document =
            serde_json::to_vec(&plan::runtime_spec(spec, &around)?).expect("a specification is JSON");
        let config = bundle.join("config.json");
        std::fs::write(&config, document).map_err(|source| Error::File {
            what: "write the bundle's",
            path: config,
            source,
        })?;
        let launch = Launch {
            namespace: record.namespace.to_string(),
            bundle,
            cgroup: around.cgroup_path,
            rootfs: self.rootfs(record)?,
            terminal: spec.terminal,
            options: self.create_options(record, &injected.groups)?,
            attaches: Vec::new(),
            held,
        };
        Ok((launch, connection))
    }

    fn rootfs(&self, record: &Record) -> Result<Vec<oci::mount::Mount>> {
        match self.snapshots().mounts(&record.id) {
            // A layer below it was not on disk yet when the machine went down, and the store has dropped it.
            Err(store::Error::NotFound { name, .. }) if name != record.id => {
                self.unpack_again(&record.namespace, &record.image_id)?;
                Ok(self.snapshots().mounts(&record.id)?)
            }
            mounts => Ok(mounts?),
        }
    }

    fn create_options(&self, record: &Record, groups: &[u32]) -> Result<CreateOptions> {
        let spec = &record.spec;
        let (height, width) = spec.console_size.unwrap_or_default();
        Ok(CreateOptions {
            user: spec.user.clone(),
            group_add: spec.group_add.iter().cloned().chain(groups.iter().map(u32::to_string)).collect(),
            log: Some(logs::order(&spec.log, || log_facts(record), &self.log_path(&record.id))?),
            open_stdin: spec.open_stdin,
            stdin_once: spec.stdin_once,
            ensure_cwd: true,
            set_home: true,
            width: width.into(),
            height: height.into(),
            default_rlimits: plan::default_rlimits(spec),
            wait_attach: false,
        })
    }

    /// The container's host name: its own, or that of the host or container whose network or UTS namespace it uses.
    pub(crate) fn hostname(&self, spec: &ContainerSpec) -> String {
        match &spec.network {
            NetworkMode::Container(other) if spec.hostname.is_empty() => {
                // Those that exist name only those that existed before them: this ends.
                self.index.by_id(other).map_or(String::new(), |other| self.hostname(&other.spec))
            }
            _ if spec.hostname.is_empty() || spec.uts == UtsMode::Host => {
                rustix::system::uname().nodename().to_string_lossy().into_owned()
            }
            _ => spec.hostname.clone(),
        }
    }

    /// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, anew for each run.
    pub(crate) fn write_etc(&self, id: &str, hostname: &str, texts: &EtcTexts) -> Result<EtcFiles> {
        let files = self.etc_files(id);
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(|source| Error::File {
                what: "write",
                path: path.to_owned(),
                source,
            })
        };
        write(&files.hostname, &format!("{hostname}\n"))?;
        write(&files.hosts, &texts.hosts)?;
        write(&files.resolv_conf, &texts.resolv_conf)?;
        Ok(files)
    }

    /// Removes what a run left in the state directory.
    pub(crate) fn remove_bundle(&self, id: &str) {
        let shm = self.shm_path(id);
        if shm.exists() {
            // Busy or not a mount: removing the directory below tells.
            let _ = rustix::mount::unmount(&shm, rustix::mount::UnmountFlags::DETACH);
        }
        let bundle = self.bundle_path(id);
        unmount_images(&bundle);
        self.release_volumes(id);
        if let Err(error) = std::fs::remove_dir_all(&bundle)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %bundle.display(), %error, "a bundle could not be removed");
        }
    }
}

/// What marks and tags of the log may say.
fn log_facts(record: &Record) -> logs::Facts {
    let spec = &record.spec;
    logs::Facts {
        id: record.id.clone(),
        name: record.name(),
        image: spec.image.clone(),
        image_id: record.image_id.clone(),
        args: super::merge::args(spec),
        env: spec.env.clone(),
        labels: spec.labels.clone(),
        created: clock::rfc3339(record.created_ns),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

/// What a container finds in `/etc/hosts` and `/etc/resolv.conf`.
#[derive(Debug)]
pub(crate) struct EtcTexts {
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
}

impl EtcTexts {
    /// For a container without networks of ours.
    fn of_host(spec: &ContainerSpec) -> EtcTexts {
        let of_host = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let hosts = match spec.network {
            NetworkMode::Host => of_host("/etc/hosts"),
            NetworkMode::None | NetworkMode::Networks | NetworkMode::Container(_) => LOCAL_HOSTS.to_owned(),
        };
        EtcTexts { hosts, resolv_conf: of_host("/etc/resolv.conf") }
    }
}

/// Our own hard limit; the shims have it from us.
pub(crate) fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// The `/dev/shm` that other containers may join is a mount of the host's, because theirs begins with its clone.
fn mount_shm(path: &Path, spec: &ContainerSpec) -> Result<()> {
    let failed = |source: std::io::Error| Error::File {
        what: "mount shared memory at",
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir(path).map_err(failed)?;
    let size = spec.shm_size_bytes.unwrap_or(plan::DEFAULT_SHM_SIZE_BYTES);
    let options = std::ffi::CString::new(format!("mode=1777,size={size}")).expect("digits have no zero byte");
    let flags = MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("shm", path, "tmpfs", flags, options.as_c_str())
        .map_err(|errno| failed(errno.into()))
}

fn ensure_source(source: &str, create: bool) -> Result<()> {
    match std::fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            std::fs::create_dir_all(source).map_err(|error| Error::File {
                what: "make the bind source",
                path: source.into(),
                source: error,
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing_source(source)),
        Err(error) => {
            Err(Error::File { what: "look at the bind source", path: source.into(), source: error })
        }
    }
}

/// Docker's words for a bind mount without a source.
pub(crate) fn missing_source(source: &str) -> Error {
    Error::InvalidArgument(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {source}"
    ))
}
