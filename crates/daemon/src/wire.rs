//! The wiring: everything that the daemon has is built here, once, and taken down here.

use std::io;
use std::path::PathBuf;

use engine::Engine;
use runtime::cgroup::Cgroup;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::error::Error;
use crate::listen;
use crate::lock::StateLock;
use crate::metrics;

/// Requests mostly wait for the kernel or for a shim; two threads carry them on any machine.
const WORKER_THREADS: usize = 2;

/// What one client needed is not kept for the next: those of streams and archives are larger, those of requests smaller.
const GIVE_BACK_BYTES: i32 = 64 << 10;

/// Builds everything, serves until SIGTERM or SIGINT, and lets go. A second signal ends the daemon at once.
pub(crate) fn run(config: Config) -> Result<(), Error> {
    raise_open_files();
    set_oom_score(config.door.oom_score);
    if let Some(path) = &config.door.cgroup {
        let failed = |source| Error::Cgroup { path: path.clone(), source };
        Cgroup::settle(path).map_err(failed)?;
    }
    linux::memory::give_back_from(GIVE_BACK_BYTES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "start the runtime", source })?;
    let lock = StateLock::take(&config.state, state_mode(&config))?;
    let served = runtime.block_on(serve(config));
    // Blocking work that hangs must not keep a stopped daemon alive.
    runtime.shutdown_background();
    drop(lock);
    served
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let engine = Engine::open(engine::Config {
        root: config.root.clone(),
        state: config.state.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        shim: shim(&config)?,
        containerd_address: config.containerd_socket(),
        spare_shims: config.spare_shims,
        log: config.log(),
        stop_timeout_s: config.stop_timeout,
        worker: image::WorkerCommand::default(),
        network: config.networks(),
        registries: config.registries(),
        cdi_directories: config.cdi_directories.clone(),
        restart_interval: config.door.restart_interval.unwrap_or(engine::RESTART_INTERVAL),
    })
    .await
    .map_err(Error::Engine)?;
    if let Some(changes) = config.door.gc_changes {
        engine.look_after_changes(changes);
    }
    let (stop, stopping) = watch::channel(false);
    let socket = config.docker_socket();
    let listener = listen::unix(&socket, listen::group(&config.docker_group)?)?;
    let docker = tokio::spawn(docker::serve(listener, engine.clone(), stopping.clone()));
    let containerd_socket = config.containerd_socket();
    let listener = listen::unix(&containerd_socket, config.door.owner)?;
    let mut sockets = vec![socket.clone(), containerd_socket.clone()];
    let derived = (engine::runtimes::ttrpc_address(&containerd_socket), config.door.owner);
    for (path, owner) in std::iter::once(derived).chain(config.door.ttrpc.clone()) {
        let listener = listen::unix(&path, owner)?;
        tokio::spawn(engine::runtimes::forward::serve(listener, engine.exchange().clone()));
        sockets.push(path);
    }
    let mut door = containerd::Door::new(engine.clone()).without(config.door.disabled.clone());
    if let Some(address) = config.door.metrics {
        door = door.counted();
        tokio::spawn(metrics::serve(listen::tcp(address).await?, door.clone(), stopping.clone()));
    }
    let containerd = tokio::spawn(containerd::serve(listener, door, stopping));
    tracing::info!(root = %config.root.display(), socket = %socket.display(), version = engine.version().version, "ready");
    notify_supervisor();
    signals.next().await;
    tracing::info!("stopping; containers run on");
    for socket in sockets {
        drop(std::fs::remove_file(socket));
    }
    let let_go = async {
        stop.send_replace(true);
        for (name, door) in [("docker", docker), ("containerd", containerd)] {
            if let Err(error) = door.await {
                tracing::error!(%error, name, "a door ended badly");
            }
        }
        engine.close().await.map_err(Error::Engine)
    };
    tokio::select! {
        result = let_go => result,
        () = signals.next() => {
            tracing::warn!("a second signal: stopping at once");
            Ok(())
        }
    }
}

/// The signals that ask the daemon to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// What other daemons read their configuration again for, and show their stacks for: neither may end this one.
    ignored: [Signal; 2],
}

impl Signals {
    fn new() -> Result<Signals, Error> {
        let listen =
            |kind| signal(kind).map_err(|source| Error::System { what: "listen for signals", source });
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            ignored: [listen(SignalKind::hangup())?, listen(SignalKind::user_defined1())?],
        })
    }

    async fn next(&mut self) {
        let [hangup, user] = &mut self.ignored;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = hangup.recv() => tracing::warn!("SIGHUP changes nothing: the configuration is read at the start"),
                _ = user.recv() => tracing::warn!("SIGUSR1 changes nothing"),
            }
        }
    }
}

/// The shim that the configuration names, or the one beside this executable.
fn shim(config: &Config) -> Result<PathBuf, Error> {
    let failed = |path: PathBuf| move |source: io::Error| Error::File { what: "find the shim", path, source };
    let path = if config.shim.as_os_str().is_empty() {
        let own = std::env::current_exe().map_err(failed("/proc/self/exe".into()))?;
        own.with_file_name("corten-shim")
    } else {
        config.shim.clone()
    };
    std::fs::metadata(&path).map_err(failed(path.clone()))?;
    Ok(path)
}

/// Every container costs the daemon descriptors; the soft limit of 1,024 is a relic of `select(2)`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Who may use a socket in the state directory must come through it; what is in it is closed by itself.
fn state_mode(config: &Config) -> u32 {
    if config.door.owner.is_some() { 0o711 } else { 0o700 }
}

/// How soon the kernel ends the daemon when memory is short. Its children begin with the same score.
fn set_oom_score(score: i32) {
    if score == 0 {
        return;
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        tracing::warn!(%error, score, "the kernel does not let the daemon have this `oom_score`");
    }
}

/// Tells systemd that the daemon is ready, if it asked (`sd_notify(3)`).
fn notify_supervisor() {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(b"READY=1\n", std::path::Path::new(&address)));
    if let Err(error) = sent {
        tracing::warn!(%error, "the supervisor could not be told that the daemon is ready");
    }
}
