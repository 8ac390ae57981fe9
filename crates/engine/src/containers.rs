//! Containers: made, started, stopped, watched, removed.

pub mod spec;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use spec::ContainerSpec;

use crate::engine::Engine;
use crate::error::Result;

/// The containers of the engine. Wherever a container is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Containers {
    engine: Arc<Engine>,
}

/// What `create` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
}

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
    /// Of the last run.
    pub exit_code: i32,
    /// Why the last start failed; else empty.
    pub error: String,
    pub oom_killed: bool,
    pub started_ns: Option<i64>,
    pub finished_ns: Option<i64>,
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
}

/// A mount as inspect shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: &'static str,
    /// Of a volume; else empty.
    pub name: String,
    pub source: String,
    pub destination: String,
    pub readonly: bool,
    pub propagation: &'static str,
}

/// Which containers `list` returns: those that match one of each list that is not empty.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Without it only running ones (unless `statuses`, `exited` or `limit` are given).
    pub all: bool,
    /// The newest so many, of any state.
    pub limit: Option<usize>,
    /// Prefixes.
    pub ids: Vec<String>,
    /// Parts of names.
    pub names: Vec<String>,
    /// All of them must match; no value: any.
    pub labels: Vec<(String, Option<String>)>,
    pub statuses: Vec<Status>,
    pub exited: Vec<i32>,
    /// Image names or ids.
    pub ancestors: Vec<String>,
    /// Volume names or mount destinations.
    pub volumes: Vec<String>,
    /// Created before, or since, that container.
    pub before: Option<String>,
    pub since: Option<String>,
}

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    NotRunning,
    NextExit,
    Removed,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    /// Why it could not be started or waited for.
    pub error: Option<String>,
}

/// What to attach to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A connection to the streams of a process.
///
/// Reading gives Docker's frames, or raw bytes when the process has a terminal; writing feeds its stdin, shutting
/// down ends it. A stream to a container that was not started yet waits for its start.
#[derive(Debug)]
pub struct AttachStream {}

/// Which log entries, and whether to go on waiting for more.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since_ns: Option<i64>,
    pub until_ns: Option<i64>,
}

/// The log of a container, entry by entry.
#[derive(Debug)]
pub struct LogStream {}

/// One entry: a line with its newline, or a part of a long line without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub stream: LogSource,
    pub time_ns: i64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    Stdout,
    Stderr,
}

/// How `remove` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// Which processes run in a container.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub writable_bytes: u64,
    pub total_bytes: u64,
}

impl Containers {
    /// Makes a container; nothing of it is left when that fails. No name: one is made up.
    pub async fn create(&self, _name: Option<&str>, _spec: ContainerSpec) -> Result<Created> {
        todo!()
    }
    /// Starts it. Ok(false): it already runs.
    pub async fn start(&self, _container: &str) -> Result<bool> {
        todo!()
    }
    /// Sends the stop signal and, after the timeout, SIGKILL. Ok(false): it did not run. No timeout: the
    /// container's; negative: none.
    pub async fn stop(&self, _container: &str, _timeout_s: Option<i64>, _signal: Option<&str>) -> Result<bool> {
        todo!()
    }
    /// Stops and starts it.
    pub async fn restart(&self, _container: &str, _timeout_s: Option<i64>, _signal: Option<&str>) -> Result<()> {
        todo!()
    }
    /// Sends a signal (name or number; empty: SIGKILL).
    pub async fn kill(&self, _container: &str, _signal: &str) -> Result<()> {
        todo!()
    }
    /// Freezes its processes.
    pub async fn pause(&self, _container: &str) -> Result<()> {
        todo!()
    }
    /// Lets them go on.
    pub async fn unpause(&self, _container: &str) -> Result<()> {
        todo!()
    }
    /// Gives it another name.
    pub async fn rename(&self, _container: &str, _name: &str) -> Result<()> {
        todo!()
    }
    /// Removes it.
    pub async fn remove(&self, _container: &str, _options: RemoveOptions) -> Result<()> {
        todo!()
    }
    /// Everything about one container.
    pub async fn inspect(&self, _container: &str) -> Result<Container> {
        todo!()
    }
    /// What one container uses of the disk (slow: it walks the tree).
    pub async fn usage(&self, _container: &str) -> Result<Usage> {
        todo!()
    }
    /// Those that match, newest first.
    pub async fn list(&self, _filter: &ListFilter) -> Result<Vec<Container>> {
        todo!()
    }
    /// A future of the exit. The container is looked up, and the wait begins, before this returns: an exit that
    /// comes after it is not missed.
    pub async fn wait(
        &self,
        _container: &str,
        _condition: WaitCondition,
    ) -> Result<impl Future<Output = Exit> + Send + use<>> {
        Ok(async { todo!() })
    }
    /// Connects to the streams. The stream is there, and misses nothing, when this returns.
    pub async fn attach(&self, _container: &str, _options: AttachOptions) -> Result<AttachStream> {
        todo!()
    }
    /// Sets the size of the terminal, in characters.
    pub async fn resize(&self, _container: &str, _height: u16, _width: u16) -> Result<()> {
        todo!()
    }
    /// Reads the log.
    pub async fn logs(&self, _container: &str, _options: LogOptions) -> Result<LogStream> {
        todo!()
    }
    /// Process ids in the host's PID namespace.
    pub async fn processes(&self, _container: &str) -> Result<Vec<u32>> {
        todo!()
    }
    /// Removes every container that does not run (and matches the labels); returns ids and bytes.
    pub async fn prune(&self, _labels: &BTreeMap<String, Option<String>>) -> Result<(Vec<String>, u64)> {
        todo!()
    }
}

impl LogStream {
    /// The next entry; None when the log has ended.
    pub async fn next(&mut self) -> Option<Result<LogEntry>> {
        todo!()
    }
}

impl AsyncRead for AttachStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        todo!()
    }
}

impl AsyncWrite for AttachStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        todo!()
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        todo!()
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        todo!()
    }
}

impl Engine {
    /// The containers.
    pub fn containers(self: &Arc<Self>) -> Containers {
        Containers { engine: self.clone() }
    }
}
