//! The end of a run: recorded first, told then, cleaned up last.
//!
//! Whoever waits for a container is told when its exit is in the database. What remains of the run (the shim, its
//! mounts, the bundle, and for `--rm` the container's files) goes afterwards, still in the same turn, so that a new start
//! or a removal finds nothing of the old run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::task::WaitResponse;

use super::health::Health;
use super::record::{Phase, Record};
use super::start::{SHIM_LINK, StartedBy};
use super::state::State;
use crate::blocking::blocking;
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;
use crate::recovery;
use crate::restart;
use crate::tasks::{Ended, Reply, Task};

/// The exit code of a container whose shim was lost with its exit: its processes were killed.
const LOST_EXIT_CODE: i32 = 137;
/// That of a container that ran when the machine went down.
const REBOOT_EXIT_CODE: i32 = 255;

impl Engine {
    /// Waits for the end of a run in the background, and does what is to be done then.
    pub(crate) fn supervise(
        self: &Arc<Self>,
        record: Arc<Record>,
        task: Arc<Task>,
        exit: Reply<WaitResponse>,
    ) {
        let engine = self.clone();
        // Boxed: this future starts containers, and starting one makes such a future.
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let ended = exit.get("wait for a task").await.map(|exit| Ended::from(&exit));
            engine.end(record, Some(task), ended).await;
        });
        tokio::spawn(future);
    }

    /// Records the end of a run, cleans up and lets the restart policy decide.
    pub(crate) async fn end(
        self: Arc<Self>,
        record: Arc<Record>,
        task: Option<Arc<Task>>,
        ended: Result<Ended, Error>,
    ) {
        let _closing_waits = self.ends.clone().read_owned().await;
        let mut turn = record.turn().await;
        let (ended, error) = match ended {
            Ok(ended) => (ended, String::new()),
            Err(error) => self.lost(&record, &error).await,
        };
        let policy = {
            let live = record.live.borrow();
            let started_ns = live.last.started_ns.unwrap_or(ended.finished_ns);
            let ran_ns = u64::try_from(ended.finished_ns.saturating_sub(started_ns)).unwrap_or(0);
            restart::Ended {
                code: ended.code,
                ran: Duration::from_nanos(ran_ns),
                restarts: live.restart_count,
                was_asked_to: live.was_stopped,
            }
        };
        let pause = turn.backoff.next(record.restart_policy(), policy);
        self.record_exit(&record, ended, error, pause.is_some()).await;
        self.tear_down(&record, task.as_deref()).await;
        drop(turn);
        if let Some(pause) = pause {
            self.restart_after(record, pause);
        }
    }

    async fn record_exit(
        self: &Arc<Self>,
        record: &Arc<Record>,
        ended: Ended,
        error: String,
        restarts: bool,
    ) {
        let goes = record.spec.auto_remove;
        let mut stored = record.stored_state();
        stored.phase = if restarts { Phase::Restarting } else { Phase::Exited };
        stored.last.code = ended.code;
        stored.last.finished_ns = Some(ended.finished_ns);
        stored.last.error = error;
        stored.health = stored.health.map(Health::stopped);
        let health = stored.health.clone().map(Arc::new);
        let (engine, own) = (self.clone(), record.clone());
        let last = blocking(move || {
            // The protocol's answer to a wait cannot say it, the shim's record does.
            let exit_record = recovery::read_exit(&engine.bundle_path(&own.id).join(SHIM_LINK));
            // Whoever is told of the end may want its ports and addresses at once.
            engine.fabric.release(&own.id);
            stored.last.oom_killed = exit_record.is_some_and(|ended| ended.oom_killed);
            if !goes {
                engine.store_exit(&own, &stored);
            } else if let Err(error) = engine.delete_row(&own) {
                // It is gone for everybody but the database, from which recovery removes it.
                tracing::error!(container = own.id, error = %error.chain(), "a container's row could not be removed");
            }
            stored.last
        })
        .await;
        if goes {
            self.index.remove(record);
        }
        let mut attributes = record.attributes();
        attributes.insert("exitCode".into(), ended.code.to_string());
        if last.oom_killed {
            self.publish_container(record, "oom");
        }
        self.publish_container_with(record, "die", attributes);
        self.publish_endpoints(record, "disconnect");
        record.live.send_modify(|live| {
            live.state = match (goes, restarts) {
                (true, _) => State::Removing,
                (false, true) => State::Restarting,
                (false, false) => State::Exited,
            };
            live.last = last;
            live.health = health;
            live.network = Arc::default();
            live.exits += 1;
            live.task = None;
            live.is_gone = goes;
        });
    }

    /// Lets go of everything that belonged to the run.
    async fn tear_down(self: &Arc<Self>, record: &Arc<Record>, task: Option<&Task>) {
        if let Some(task) = task {
            if let Err(error) = task.delete("").await
                && !matches!(error, Error::ShimLost)
            {
                tracing::warn!(container = record.id, error = %error.chain(), "a task could not be deleted");
            }
            task.shutdown().await;
        }
        record.log_open.send_replace(false);
        self.publish_volumes(record, "unmount");
        let (engine, own) = (self.clone(), record.clone());
        let shim = task.map(|task| task.directory().to_owned());
        blocking(move || {
            engine.fabric.disconnect(&own.id);
            engine.remove_bundle(&own.id);
            if let Some(shim) = shim {
                engine.remove_shim(&shim);
            }
            if own.spec.auto_remove {
                engine.remove_files(&own, true);
            }
        })
        .await;
        if record.spec.auto_remove {
            self.publish_container(record, "destroy");
        }
    }

    /// The shim is gone without having told the end: its record may be there; what runs is killed.
    async fn lost(self: &Arc<Self>, record: &Arc<Record>, error: &Error) -> (Ended, String) {
        let (engine, own) = (self.clone(), record.clone());
        let (ended, why) = blocking(move || {
            engine.kill_cgroup(&engine.cgroup_of(&own));
            if let Some(exit) = recovery::read_exit(&engine.bundle_path(&own.id).join(SHIM_LINK)) {
                return (Ended { code: exit.exit_status, finished_ns: exit.exited_at_ns }, "");
            }
            let was_machine = !engine.bundle_path(&own.id).exists();
            let (code, why) = if was_machine {
                (REBOOT_EXIT_CODE, "the machine was restarted")
            } else {
                (LOST_EXIT_CODE, "the shim was lost; the container's processes were killed")
            };
            (Ended { code, finished_ns: clock::now_ns() }, why)
        })
        .await;
        if !why.is_empty() {
            tracing::warn!(container = record.id, error = %error.chain(), "{why}");
        }
        (ended, why.to_owned())
    }

    /// Starts the container after the pause, unless somebody decides otherwise meanwhile.
    pub(crate) fn restart_after(self: Arc<Self>, record: Arc<Record>, pause: Duration) {
        tokio::spawn(async move {
            // A daemon that opens must have swept before anything new begins; one that closes begins nothing.
            if self.is_open.subscribe().wait_for(|is_open| *is_open).await.is_err() {
                return;
            }
            let mut live = record.live.subscribe();
            let decided = live.wait_for(|live| live.state != State::Restarting);
            if tokio::time::timeout(pause, decided).await.is_ok() || self.is_closing() {
                return;
            }
            if let Err(error) = self.start(&record, StartedBy::Policy).await {
                tracing::warn!(container = record.id, error = %error.chain(), "a container could not be restarted");
            }
        });
    }
}
