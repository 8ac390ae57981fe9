//! Stop, kill, pause and what else is done to a running container.

use std::sync::Arc;
use std::time::Duration;

use super::record::{Live, Record};
use super::start::StartedBy;
use super::state::{Run, State};
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::signals::{self, SIGKILL, SIGTERM};

/// `SIGRTMIN+3`, which tells systemd to stop everything in order and then itself (systemd(1)).
const SYSTEMD_HALT: i32 = 37;

/// How long a killed container may take to end: only a process in uninterruptible sleep takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Sends the stop signal and, after the timeout, SIGKILL. Ok(false): it did not run.
    pub(crate) async fn stop(
        self: &Arc<Self>,
        record: &Arc<Record>,
        timeout_s: Option<i64>,
        signal: Option<&str>,
    ) -> Result<bool> {
        let signal = match signal.filter(|signal| !signal.is_empty()) {
            Some(signal) => signals::parse(signal)?,
            None => stop_signal(record),
        };
        if !record.live.borrow().state.is_active() {
            return Ok(false);
        }
        self.note_stop(record).await;
        if self.give_up_restart(record).await {
            return Ok(true);
        }
        let timeout_s = timeout_s.or(record.spec.stop_timeout_s).unwrap_or(self.config.stop_timeout_s);
        let mut live = record.live.subscribe();
        self.signal(record, signal).await?;
        let ended = live.wait_for(|live| live.state.run().is_none());
        let in_time = match u64::try_from(timeout_s) {
            Err(_) => ended.await.is_ok(),
            Ok(seconds) => tokio::time::timeout(Duration::from_secs(seconds), ended).await.is_ok(),
        };
        if !in_time {
            self.kill_and_wait(record).await?;
        }
        self.publish_container(record, "stop");
        Ok(true)
    }

    /// Stops it if it runs, and starts it.
    pub(crate) async fn restart(
        self: &Arc<Self>,
        record: &Arc<Record>,
        timeout_s: Option<i64>,
        signal: Option<&str>,
    ) -> Result<()> {
        self.stop(record, timeout_s, signal).await?;
        self.start(record, StartedBy::Client).await?;
        self.publish_container(record, "restart");
        Ok(())
    }

    /// Sends a signal that a client names.
    pub(crate) async fn kill(self: &Arc<Self>, record: &Arc<Record>, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { SIGKILL } else { signal_of(record, signal)? };
        let not_running = || {
            Error::Conflict(format!(
                "cannot kill container: {}: container {} is not running",
                record.name(),
                record.id
            ))
        };
        if !record.live.borrow().state.is_active() {
            return Err(not_running());
        }
        // What is meant to end it must not be undone by its policy.
        if signal == SIGKILL || signal == stop_signal(record) {
            self.note_stop(record).await;
            if self.give_up_restart(record).await {
                return Ok(());
            }
        }
        if !self.signal(record, signal).await? {
            return Err(not_running());
        }
        Ok(())
    }

    /// Kills it and waits for its end.
    pub(crate) async fn kill_and_wait(self: &Arc<Self>, record: &Arc<Record>) -> Result<()> {
        let mut live = record.live.subscribe();
        self.signal(record, SIGKILL).await?;
        let ended = live.wait_for(|live| live.state.run().is_none());
        match tokio::time::timeout(KILL_TIMEOUT, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Conflict(format!(
                "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                record.name()
            ))),
        }
    }

    /// From now on the container's policy has no say.
    pub(crate) async fn note_stop(self: &Arc<Self>, record: &Arc<Record>) {
        let is_new = record.live.send_if_modified(|live| !std::mem::replace(&mut live.was_stopped, true));
        // Only this policy asks after a stop when the engine opens.
        if is_new && record.restart_policy() == super::spec::RestartPolicy::UnlessStopped {
            let _turn = record.turn().await;
            let (engine, own) = (self.clone(), record.clone());
            blocking(move || engine.store_state(&own, store::Commit::Durable)).await;
        }
    }

    /// Ends the wait for a restart. False: it does not wait.
    pub(crate) async fn give_up_restart(self: &Arc<Self>, record: &Arc<Record>) -> bool {
        if record.live.borrow().state != State::Restarting {
            return false;
        }
        let _turn = record.turn().await;
        let gave_up = record.live.send_if_modified(|live| {
            let waits = live.state == State::Restarting;
            if waits {
                live.state = State::Exited;
            }
            waits
        });
        if gave_up {
            let (engine, own) = (self.clone(), record.clone());
            blocking(move || engine.store_state(&own, store::Commit::Ordered)).await;
        }
        gave_up
    }

    /// Sends a signal; a paused container is let go on so that it gets it. Ok(false): it has ended.
    async fn signal(self: &Arc<Self>, record: &Arc<Record>, signal: i32) -> Result<bool> {
        let (task, is_paused) = {
            let live = record.live.borrow();
            (live.task.clone(), matches!(live.state, State::Paused(_)))
        };
        let Some(task) = task else { return Ok(false) };
        let sent = match task.kill("", signal).await {
            // Its supervisor learns of it as well and records the end.
            Err(Error::ShimLost) => return Ok(true),
            sent => sent?,
        };
        if sent {
            let mut attributes = record.attributes();
            attributes.insert("signal".into(), signal.to_string());
            self.publish_container_with(record, "kill", attributes);
        }
        if is_paused {
            match self.unpause(record).await {
                // It has ended meanwhile, or somebody else let it go on.
                Ok(()) => {}
                // The shim lets go on what it kills.
                Err(error) if error.code() == api::code::Code::FailedPrecondition => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Freezes its processes.
    pub(crate) async fn pause(self: &Arc<Self>, record: &Arc<Record>) -> Result<()> {
        let _turn = record.turn().await;
        if matches!(record.live.borrow().state, State::Paused(_)) {
            return Err(Error::Conflict(format!("Container {} is already paused", record.id)));
        }
        record.task()?.pause().await?;
        self.set_state(record, "pause", State::Paused);
        Ok(())
    }

    /// Lets its processes go on.
    pub(crate) async fn unpause(self: &Arc<Self>, record: &Arc<Record>) -> Result<()> {
        let _turn = record.turn().await;
        if !matches!(record.live.borrow().state, State::Paused(_)) {
            return Err(Error::Conflict(format!("Container {} is not paused", record.id)));
        }
        record.task()?.resume().await?;
        self.set_state(record, "unpause", State::Running);
        Ok(())
    }

    fn set_state(&self, record: &Record, action: &str, state: impl FnOnce(Run) -> State) {
        record.live.send_modify(|live: &mut Live| {
            if let Some(run) = live.state.run() {
                live.state = state(run);
            }
        });
        self.publish_container(record, action);
    }
}

/// The signal that a client names, with Docker's words for a number that the kernel does not have.
fn signal_of(record: &Record, text: &str) -> Result<i32> {
    signals::parse(text).map_err(|error| match text.parse::<i32>() {
        Ok(number @ 1..) => Error::InvalidArgument(format!(
            "cannot kill container: {}: the linux daemon does not support signal {number}",
            record.name()
        )),
        _ => error,
    })
}

fn stop_signal(record: &Record) -> i32 {
    match (record.spec.stop_signal.as_str(), record.live.borrow().state.run()) {
        ("", Some(run)) if is_systemd(run.pid) => SYSTEMD_HALT,
        ("", _) => SIGTERM,
        // An image may say anything; a client's was checked at creation.
        (text, _) => signals::parse(text).unwrap_or(SIGTERM),
    }
}

/// Whether the first process is systemd: it takes the usual signal for the wish that it executes itself anew.
fn is_systemd(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.ends_with("systemd"))
}
