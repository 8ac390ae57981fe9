//! Containers: made, started, stopped, watched, removed.
//!
//! The public face is [`Containers`]; the verbs are in files of their own. `spec` is what a client asks, `merge` and
//! `check` complete and refuse it, `plan` turns it into a runtime document; `record` is a container in memory, `rows` in
//! the database, `state` its states.

pub(crate) mod attach;
mod cdi;
mod changes;
mod check;
mod commit;
mod confinement;
mod create;
mod devices;
mod exit;
pub(crate) mod files;
pub(crate) mod health;
mod lend;
mod list;
pub(crate) mod merge;
mod name;
pub(crate) mod plan;
pub(crate) mod record;
mod remove;
mod rows;
pub(crate) mod sources;
pub mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub mod stats;
mod stop;
pub(crate) mod top;
mod update;
mod view;

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

pub use attach::{AttachOptions, AttachStream};
pub use changes::{Change, ChangeKind};
pub use check::oom_score_adj_out_of_range;
pub use commit::CommitRequest;
pub use files::{Archive, ArchiveEnd, ExtractOptions, FileStat};
pub use health::{Health, HealthStatus, Probe};
pub use list::ListFilter;
pub use spec::ContainerSpec;
pub use top::Processes;
pub use update::Changes;
pub use view::{Container, MountPoint, StateView, Status, Usage};

use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::logs;
pub use crate::logs::{LogEntry, LogOptions, LogSource, LogStream};
use crate::namespaces::Namespace;
use crate::prune::PruneFilter;
use record::{Live, Record};
use start::StartedBy;

/// The containers of a namespace. Wherever a container is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Containers {
    pub(crate) engine: Arc<Engine>,
    pub(crate) namespace: Namespace,
}

/// What `create` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
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

/// How `remove` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

impl Containers {
    fn find(&self, container: &str) -> Result<Arc<Record>> {
        self.engine.index.find(&self.namespace, container)
    }

    /// Makes a container; nothing of it is left when that fails. No name: one is made up.
    pub async fn create(&self, name: Option<&str>, spec: ContainerSpec) -> Result<Created> {
        self.engine.create(&self.namespace, name, spec).await
    }

    /// Starts it. Ok(false): it already runs.
    pub async fn start(&self, container: &str) -> Result<bool> {
        let record = self.find(container)?;
        self.engine.start(&record, StartedBy::Client).await
    }

    /// Sends the stop signal and, after the timeout, SIGKILL. Ok(false): it did not run. No timeout: the
    /// container's; negative: none.
    pub async fn stop(&self, container: &str, timeout_s: Option<i64>, signal: Option<&str>) -> Result<bool> {
        let record = self.find(container)?;
        self.engine.stop(&record, timeout_s, signal).await
    }

    /// Stops and starts it.
    pub async fn restart(&self, container: &str, timeout_s: Option<i64>, signal: Option<&str>) -> Result<()> {
        let record = self.find(container)?;
        self.engine.restart(&record, timeout_s, signal).await
    }

    /// Sends a signal (name or number; empty: SIGKILL).
    pub async fn kill(&self, container: &str, signal: &str) -> Result<()> {
        let record = self.find(container)?;
        self.engine.kill(&record, signal).await
    }

    /// Freezes its processes.
    pub async fn pause(&self, container: &str) -> Result<()> {
        let record = self.find(container)?;
        self.engine.pause(&record).await
    }

    /// Lets them go on.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        let record = self.find(container)?;
        self.engine.unpause(&record).await
    }

    /// Gives it another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        let record = self.find(container)?;
        let refused = |error: Error| match error {
            Error::InvalidArgument(why) => {
                Error::InvalidArgument(format!("Error when allocating new name: {why}"))
            }
            error => error,
        };
        let slashed = format!("/{name}");
        let name = name::parse(&slashed).map_err(refused)?.to_owned();
        let _turn = record.turn().await;
        if record.name() == name {
            return Err(Error::InvalidArgument(
                "Renaming a container with the same name as its current name".into(),
            ));
        }
        self.engine.index.reserve(&record.namespace, &name, &record.id)?;
        let (engine, own, new) = (self.engine.clone(), record.clone(), name.clone());
        if let Err(error) = blocking(move || engine.rename_row(&own, &new)).await {
            self.engine.index.release(&record.namespace, &name);
            return Err(error);
        }
        let old = record.name();
        self.engine.index.rename(&record, &name);
        let (engine, own) = (self.engine.clone(), record.clone());
        if let Err(error) = blocking(move || engine.rename_in_networks(&own)).await {
            tracing::warn!(container = record.id, error = %error.chain(), "a new name is not known in networks yet");
        }
        let mut attributes = record.attributes();
        attributes.insert("oldName".into(), format!("/{old}"));
        self.engine.publish_container_with(&record, "rename", attributes);
        Ok(())
    }

    /// Removes it.
    pub async fn remove(&self, container: &str, options: RemoveOptions) -> Result<()> {
        let record = self.find(container)?;
        self.engine.remove(&record, options).await
    }

    /// Everything about one container.
    pub async fn inspect(&self, container: &str) -> Result<Container> {
        let record = self.find(container)?;
        Ok(self.engine.view(&record))
    }

    /// The specification of the run that it is in, as JSON; one that does not run has none.
    pub async fn run_spec(&self, container: &str) -> Result<Option<Vec<u8>>> {
        let path = self.engine.bundle_path(&self.find(container)?.id).join("config.json");
        Ok(blocking(move || std::fs::read(path).ok()).await)
    }

    /// What one container uses of the disk (slow: it walks the tree).
    pub async fn usage(&self, container: &str) -> Result<Usage> {
        let record = self.find(container)?;
        let engine = self.engine.clone();
        blocking(move || engine.disk_usage(&record.id)).await
    }

    /// Those that match, newest first.
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<Container>> {
        self.engine.list(&self.namespace, filter)
    }

    /// A future of the exit. The container is looked up, and the wait begins, before this returns: an exit that
    /// comes after it is not missed.
    pub async fn wait(
        &self,
        container: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Exit> + Send + use<>> {
        let record = self.find(container)?;
        let live = record.live.subscribe();
        let seen = live.borrow().exits;
        // The record is kept: it is where the exit comes from.
        Ok(async move {
            let exit = wait_for(live, seen, condition).await;
            drop(record);
            exit
        })
    }

    /// Connects to the streams. The stream is there, and misses nothing, when this returns.
    pub async fn attach(&self, container: &str, options: AttachOptions) -> Result<AttachStream> {
        let record = self.find(container)?;
        if matches!(record.live.borrow().state, state::State::Paused(_)) {
            return Err(Error::Conflict(format!(
                "container {} is paused, unpause the container before attach",
                record.id
            )));
        }
        let running = record.task();
        let stream = match running {
            Ok(task) => AttachStream::connected(task.attach("", options).await?),
            Err(_) => {
                let (stream, pending) = AttachStream::pending(options);
                let mut waiting = record.pending.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.retain(attach::PendingAttach::is_wanted);
                waiting.push(pending);
                stream
            }
        };
        self.engine.publish_container(&record, "attach");
        Ok(stream)
    }

    /// Sets the size of the terminal, in characters.
    pub async fn resize(&self, container: &str, height: u16, width: u16) -> Result<()> {
        let record = self.find(container)?;
        record.task()?.resize("", height, width).await?;
        self.engine.publish_container(&record, "resize");
        Ok(())
    }

    /// Reads the log.
    pub async fn logs(&self, container: &str, options: LogOptions) -> Result<LogStream> {
        let record = self.find(container)?;
        if !record.spec.log.is_readable() {
            return Err(Error::Unsupported("configured logging driver does not support reading".into()));
        }
        let is_open = record.log_open.subscribe();
        let is_open = if options.follow && is_open_or_to_be(&record) { Some(is_open) } else { None };
        logs::open(&self.engine.watcher, self.engine.container_path(&record.id), options, is_open)
    }

    /// Process ids in the host's PID namespace.
    pub async fn processes(&self, container: &str) -> Result<Vec<u32>> {
        let record = self.find(container)?;
        record.task()?.processes().await
    }

    /// Removes every container that does not run and matches; returns ids and bytes.
    pub async fn prune(&self, filter: &PruneFilter) -> Result<(Vec<String>, u64)> {
        let all = ListFilter { all: true, ..ListFilter::default() };
        let mut pruned = (Vec::new(), 0);
        for container in self.engine.list(&self.namespace, &all)? {
            let is_at_rest =
                matches!(container.state.status, Status::Created | Status::Exited | Status::Dead);
            if !is_at_rest || !filter.matches(&container.spec.labels, Some(container.created_ns)) {
                continue;
            }
            let bytes = self.usage(&container.id).await.map_or(0, |usage| usage.writable_bytes);
            match self.remove(&container.id, RemoveOptions::default()).await {
                Ok(()) => {
                    pruned.0.push(container.id);
                    pruned.1 += bytes;
                }
                // Started or removed since we looked.
                Err(Error::Conflict(_) | Error::NoSuchContainer(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.engine.publish_pruned(Some(&self.namespace), Kind::Container, pruned.1);
        Ok(pruned)
    }
}

fn is_open_or_to_be(record: &Record) -> bool {
    *record.log_open.borrow() || record.live.borrow().state == state::State::Restarting
}

async fn wait_for(mut live: watch::Receiver<Live>, seen: u64, condition: WaitCondition) -> Exit {
    let is_over = |live: &Live| match condition {
        WaitCondition::NotRunning => live.exits > seen || live.is_gone || !live.state.is_active(),
        WaitCondition::NextExit => live.exits > seen || live.is_gone,
        WaitCondition::Removed => live.is_gone,
    };
    let exit = |live: &Live| Exit {
        code: live.last.code,
        error: Some(live.last.error.clone()).filter(|error| !error.is_empty()),
    };
    match live.wait_for(is_over).await {
        Ok(live) => exit(&live),
        Err(_) => Exit { code: 0, error: Some("the daemon is stopping".into()) },
    }
}
