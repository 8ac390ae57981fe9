//! The restart monitor: containers of containerd's clients whose labels say that their tasks must run, or must not.
//!
//! | label | |
//! |---|---|
//! | `containerd.io/restart.status` | `running` or `stopped`; without it nothing is done |
//! | `containerd.io/restart.policy` | `always` (also if it is missing), `no`, `on-failure[:N]`, `unless-stopped` |
//! | `containerd.io/restart.explicitly-stopped` | a client's word to `unless-stopped` |
//! | `containerd.io/restart.count` | how often it was started; the monitor's own |
//! | `containerd.io/restart.loguri` | where what the task prints goes; nowhere without it |
//!
//! Every ten seconds, or as often as the configuration says, all of them are looked at, in all namespaces, as in containerd. What to do is decided by [`decide`],
//! which is pure. A task that was made and not yet started is its client's, and is left alone (containerd would replace it). The
//! engine's own containers have policies of their own (`restart`).

use std::sync::Arc;
use std::time::Duration;

use api::code::Code;
use api::events::ContainerUpdate;
use api::task::{KillRequest, StartRequest, StartResponse, Status};
use api::types::Mount;
use linux::signal::SIGKILL;
use prost_types::Any;
use store::Labels;
use store::space::containers::Container;
use store::space::opaque::Opaque;

use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::runtimes::{NewTask, STATE_TIMEOUT, Task};

/// containerd's own interval.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// What a task that was killed has to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
pub(crate) const EXPLICITLY_STOPPED: &str = "containerd.io/restart.explicitly-stopped";
const COUNT: &str = "containerd.io/restart.count";
const LOG_URI: &str = "containerd.io/restart.loguri";

/// What is known of a container's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Observed {
    NoTask,
    /// It runs, is paused, or will be started by its client.
    Lives,
    Ended {
        exit_status: u32,
    },
    /// Its shim does not answer.
    Unknown,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Leave,
    Start { count: u64 },
    Stop,
}

/// A restart policy, as its label says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    No,
    Always,
    UnlessStopped,
    /// At most so many times; 0 is no bound.
    OnFailure {
        retries: u64,
    },
}

impl Policy {
    fn parse(text: &str) -> Result<Policy> {
        let refused = |why: String| Err(Error::InvalidArgument(why));
        let (name, retries) = match text.split_once(':') {
            Some((name, retries)) => (name, Some(retries)),
            None => (text, None),
        };
        let policy = match (name, retries) {
            ("on-failure", None) => Policy::OnFailure { retries: 0 },
            ("on-failure", Some(retries)) => match retries.parse() {
                Ok(retries) => Policy::OnFailure { retries },
                Err(_) => return refused(format!("invalid max retry count: {retries}")),
            },
            ("" | "always" | "no" | "unless-stopped", Some(_)) => {
                return refused(format!("restart policy {name:?} not support max retry count"));
            }
            ("" | "always", None) => Policy::Always,
            ("no", None) => Policy::No,
            ("unless-stopped", None) => Policy::UnlessStopped,
            _ => return refused(format!("restart policy {text:?} not supported")),
        };
        Ok(policy)
    }
}

/// What the labels demand of a task.
fn decide(labels: &Labels, observed: Observed) -> Result<Step> {
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let exit_status = match (label(STATUS), observed) {
        ("stopped", Observed::Lives) => return Ok(Step::Stop),
        // Without a task nobody knows how it ended: as if well.
        ("running", Observed::NoTask) => 0,
        ("running", Observed::Ended { exit_status }) => exit_status,
        _ => return Ok(Step::Leave),
    };
    let count = match label(COUNT) {
        "" => Ok(0),
        text => text.parse::<u64>().map_err(|_| text),
    };
    let starts = match Policy::parse(label(POLICY))? {
        Policy::No => false,
        Policy::Always => true,
        Policy::UnlessStopped => !is_true(label(EXPLICITLY_STOPPED)),
        Policy::OnFailure { retries } => {
            let count = count
                .map_err(|text| Error::InvalidArgument(format!("label {COUNT}: {text:?} is no number")))?;
            exit_status != 0 && (retries == 0 || count < retries)
        }
    };
    Ok(if starts { Step::Start { count: count.unwrap_or(0).saturating_add(1) } } else { Step::Leave })
}

/// As Go reads it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

impl Engine {
    /// Looks after labelled containers as long as the engine lives.
    pub(crate) fn monitor_restarts(self: &Arc<Self>) {
        let interval = self.config.restart_interval;
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(engine) = engine.upgrade().filter(|engine| !engine.is_closing()) else { return };
                engine.reconcile().await;
                drop(engine);
                tokio::time::sleep(interval).await;
            }
        });
    }

    async fn reconcile(self: &Arc<Self>) {
        let store = self.store.clone();
        let found = match blocking(move || store.containers_labelled(STATUS)).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "containers to restart could not be listed"),
        };
        let mut all = tokio::task::JoinSet::new();
        for (namespace, container) in found {
            let engine = self.clone();
            all.spawn(async move {
                if let Err(error) = engine.look_after(&namespace, &container).await {
                    let error = error.chain();
                    tracing::warn!(namespace, container = container.id, error, "not restarted as labelled");
                }
            });
        }
        while all.join_next().await.is_some() {}
    }

    async fn look_after(&self, namespace: &str, container: &Container) -> Result<()> {
        let task = self.runtimes.get(namespace, &container.id).ok();
        let observed = match &task {
            Some(task) => observe(task).await,
            None => Observed::NoTask,
        };
        match (decide(&container.labels, observed)?, task) {
            (Step::Leave, _) | (Step::Stop, None) => Ok(()),
            (Step::Stop, Some(task)) => self.end_task(&task).await,
            (Step::Start { count }, ended) => {
                // First, so that nothing is started of a container that is gone.
                self.note_restart(namespace, container, count).await?;
                if let Some(ended) = ended {
                    self.runtimes.delete(&ended).await?;
                }
                self.start_task(namespace, container).await
            }
        }
    }

    /// Writes the count into the label, and tells it.
    async fn note_restart(&self, namespace: &str, container: &Container, count: u64) -> Result<()> {
        let updated = self.set_guest_label(namespace, &container.id, COUNT, &count.to_string()).await?;
        let event = ContainerUpdate {
            id: updated.id,
            image: updated.image,
            labels: updated.labels.into_iter().collect(),
            snapshot_key: updated.snapshot_key,
        };
        self.exchange.publish(namespace, "/containers/update", &event);
        Ok(())
    }

    async fn end_task(&self, task: &Arc<Task>) -> Result<()> {
        let id = task.id().to_owned();
        let kill = KillRequest {
            id: id.clone(),
            signal: SIGKILL.unsigned_abs(),
            all: true,
            ..KillRequest::default()
        };
        task.call::<_, ()>("Kill", &kill).await?;
        let ended = tokio::time::timeout(END_TIMEOUT, task.end()).await;
        ended.map_err(|_| Error::Task {
            message: format!("task {id} was killed and does not end"),
            code: Code::DeadlineExceeded,
        })??;
        self.runtimes.delete(task).await.map(drop)
    }

    async fn start_task(&self, namespace: &str, container: &Container) -> Result<()> {
        let log = container.labels.get(LOG_URI).cloned().unwrap_or_default();
        let any = |opaque: &Opaque| Any { type_url: opaque.type_url.clone(), value: opaque.value.clone() };
        let new = NewTask {
            runtime: container.runtime.clone(),
            options: container.runtime_options.as_ref().map(any),
            spec: container.spec.as_ref().map(any).unwrap_or_default(),
            rootfs: self.mounts_of(namespace, container).await?,
            stdout: log.clone(),
            stderr: log,
            ..NewTask::default()
        };
        self.runtimes.create(namespace, &container.id, new).await?;
        let task = self.runtimes.get(namespace, &container.id)?;
        let start = StartRequest { id: container.id.clone(), exec_id: String::new() };
        if let Err(error) = task.call::<_, StartResponse>("Start", &start).await {
            // What was made is taken back; the first failure is the one to tell.
            drop(self.end_task(&task).await);
            return Err(error);
        }
        tracing::info!(namespace, container = container.id, "restarted as labelled");
        Ok(())
    }

    /// What makes the root of a container; nothing if it has no snapshot.
    async fn mounts_of(&self, namespace: &str, container: &Container) -> Result<Vec<Mount>> {
        if container.snapshot_key.is_empty() {
            return Ok(Vec::new());
        }
        let (store, namespace) = (self.store.clone(), namespace.to_owned());
        let (snapshotter, key) = (container.snapshotter.clone(), container.snapshot_key.clone());
        let mounts = move || store.space(&namespace).snapshots(&snapshotter)?.mounts(&key);
        let mounts = blocking(mounts).await?.into_iter().map(|mount| Mount {
            r#type: mount.kind,
            source: mount.source,
            target: mount.target,
            options: mount.options,
        });
        Ok(mounts.collect())
    }
}

async fn observe(task: &Task) -> Observed {
    // One that has no answer is looked at again the next time.
    match tokio::time::timeout(STATE_TIMEOUT, task.state("")).await {
        Ok(Ok(state)) if state.status == i32::from(Status::Stopped) => {
            Observed::Ended { exit_status: state.exit_status }
        }
        Ok(Ok(_)) => Observed::Lives,
        _ => Observed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(labels: &str, observed: Observed) -> Result<Step, String> {
        let pairs = labels.split_whitespace().filter_map(|pair| pair.split_once('='));
        let labels = pairs.map(|(key, value)| (format!("containerd.io/restart.{key}"), value.to_owned()));
        decide(&labels.collect(), observed).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_decide_what_becomes_of_a_task() {
        use Observed::{Lives, NoTask, Unknown};
        let (well, badly) = (Observed::Ended { exit_status: 0 }, Observed::Ended { exit_status: 3 });
        let again = |count| Step::Start { count };
        for (labels, observed, step) in [
            ("policy=always", badly, Step::Leave),
            ("status=running", NoTask, again(1)),
            ("status=running", well, again(1)),
            ("status=running count=4", badly, again(5)),
            ("status=running count=x", badly, again(1)),
            ("status=running", Lives, Step::Leave),
            ("status=running", Unknown, Step::Leave),
            ("status=running policy=no", badly, Step::Leave),
            ("status=running policy=on-failure", badly, again(1)),
            ("status=running policy=on-failure", well, Step::Leave),
            ("status=running policy=on-failure", NoTask, Step::Leave),
            ("status=running policy=on-failure:2 count=1", badly, again(2)),
            ("status=running policy=on-failure:2 count=2", badly, Step::Leave),
            ("status=running policy=unless-stopped", badly, again(1)),
            ("status=running policy=unless-stopped explicitly-stopped=false", well, again(1)),
            ("status=running policy=unless-stopped explicitly-stopped=true", well, Step::Leave),
            ("status=stopped", Lives, Step::Stop),
            ("status=stopped", badly, Step::Leave),
            ("status=stopped", NoTask, Step::Leave),
            ("status=stopped", Unknown, Step::Leave),
            ("status=paused", badly, Step::Leave),
        ] {
            assert_eq!(decided(labels, observed), Ok(step), "{labels} {observed:?}");
        }
    }

    #[test]
    fn a_policy_that_is_none_does_nothing_and_says_why() {
        for (policy, why) in [
            ("sometimes", "restart policy \"sometimes\" not supported"),
            ("always:3", "restart policy \"always\" not support max retry count"),
            ("on-failure:x", "invalid max retry count: x"),
            ("on-failure count=x", "label containerd.io/restart.count: \"x\" is no number"),
        ] {
            let labels = format!("status=running policy={policy}");
            let said = decided(&labels, Observed::Ended { exit_status: 1 }).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
