//! How processes end: reaped, drained, recorded, told.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Instant;

use api::events::{TaskExit, TaskOom};
use linux::signal::SIGKILL;
use runtime::cgroup::OomWatch;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{FIRST, Shim};
use crate::attach::Attacher;
use crate::connection::Connection;
use crate::error::chain;
use crate::process::{Birth, Child, Process, REMEMBER, State};
use crate::record::ExitRecord;
use crate::service;
use crate::streams::Sinks;

/// Reads of one process's output in a turn, so that nobody starves.
const READS_PER_TURN: usize = 16;

impl Shim {
    /// Passes on what a process has printed.
    pub(super) fn read_output(&mut self, name: &str) {
        self.with_sinks(name, |process, sinks| {
            for _ in 0..READS_PER_TURN {
                if !sinks.have_room() || process.streams.read(sinks) == 0 {
                    break;
                }
            }
        });
    }

    fn with_sinks(&mut self, name: &str, work: impl FnOnce(&mut Process, &mut Sinks<'_>)) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let mut kept = process.kept.take();
        let attachers: Vec<&mut Attacher> =
            self.attachers.values_mut().filter(|attacher| attacher.is_on(name)).collect();
        // Only the container's own output is its log; what execs print goes to whoever started them.
        let log = self.log.as_mut().filter(|_| name == FIRST);
        work(process, &mut Sinks { log, attachers, kept: kept.as_mut() });
        process.kept = kept;
    }

    /// Reaps children that are not ours by name: orphans that were handed to us.
    pub(super) fn reap(&mut self) {
        while let Ok(Some(_)) = linux::signal::read(self.children.as_fd()) {}
        let lives = |process: &&Process| matches!(process.state, State::Created(_) | State::Running(_));
        let known: Vec<u32> = self.processes.values().filter(lives).map(Process::pid).collect();
        // One thread: all children are this one's (proc_pid_children(5)).
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
            if !known.contains(&child.unsigned_abs())
                && let Some(pid) = Pid::from_raw(child)
            {
                // One that still runs stays.
                let _still_runs = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    /// Moves every process along that has ended or whose output has.
    pub(super) fn settle_ends(&mut self, now: Instant) {
        let names: Vec<String> = self.processes.keys().cloned().collect();
        for name in names {
            self.note_end(&name);
            let Some(process) = self.processes.get_mut(&name) else { continue };
            process.kept = process.kept.take().filter(|kept| kept.deadline() > now);
            if let State::Ending { until, .. } = process.state
                && (process.streams.is_drained() || until <= now)
            {
                self.conclude(&name);
            }
            self.enforce_due(&name, now);
        }
        self.forget_abandoned();
    }

    /// Some connection is gone, and with it everybody who could ask for the execs that were made on it. They run on, as they do
    /// in Docker, and are forgotten at their end; but a check is ended now, because the next daemon makes one of its own.
    pub(super) fn abandon(&mut self) {
        let now = Instant::now();
        for process in self.processes.values_mut().filter(|process| is_abandoned(process, &self.connections))
        {
            process.kept = None;
            process.due = process.due.map(|due| due.min(now));
        }
        self.forget_abandoned();
    }

    fn forget_abandoned(&mut self) {
        let connections = &self.connections;
        let is_left =
            |_: &String, process: &mut Process| process.is_over() && is_abandoned(process, connections);
        let left: Vec<(String, Process)> = self.processes.extract_if(.., is_left).collect();
        for (name, process) in left {
            self.forget(&name, process);
        }
    }

    /// Ends what has run for its time, with all that it started; forgets it if nobody has deleted it some time after.
    fn enforce_due(&mut self, name: &str, now: Instant) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if process.due.is_none_or(|due| due > now) {
            return;
        }
        process.due = Some(now + REMEMBER);
        match (&process.state, &self.container) {
            (State::Running(Child::Exec(exec)), Some(container)) => {
                if let Err(error) = container.kill_family(exec) {
                    eprintln!("`{name}` was not ended in its time: {}", chain(&error));
                }
            }
            (State::Stopped(_), _) => {
                if let Some(process) = self.processes.remove(name) {
                    self.forget(name, process);
                }
            }
            _ => {}
        }
    }

    /// Looks whether a process has ended.
    pub(crate) fn note_end(&mut self, name: &str) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let ended = match (&process.state, &mut self.container) {
            (State::Created(Birth::First { .. }) | State::Running(Child::First { .. }), Some(container)) => {
                container.try_wait()
            }
            (State::Running(Child::Exec(exec)), _) => exec.try_wait(),
            _ => return,
        };
        match ended {
            Ok(None) => {}
            Ok(Some(exit)) => {
                let kills = self.container.as_ref().map_or(Ok(0), runtime::Container::oom_kills);
                process.end(exit, exit.status() != 0 && kills.is_ok_and(|kills| kills > 0));
                if name == FIRST && self.shares_pids {
                    self.kill_rest();
                }
                self.read_output(name);
            }
            Err(error) => eprintln!("the end of `{name}` cannot be seen: {}", chain(&error)),
        }
    }

    /// Without a pid namespace of its own nothing ends the container's other processes with its first.
    fn kill_rest(&self) {
        if let Some(container) = &self.container
            && let Err(error) = container.kill_all(SIGKILL)
        {
            eprintln!("processes of the container were not ended: {}", chain(&error));
        }
    }

    /// A process that has ended is through: the rest of its output, the record, and then everybody is told.
    pub(crate) fn conclude(&mut self, name: &str) {
        self.with_sinks(name, |process, sinks| process.streams.drain(sinks));
        let Some(process) = self.processes.get_mut(name) else { return };
        let State::Ending { exit, .. } = process.state else { return };
        process.state = State::Stopped(exit);
        let waiters = std::mem::take(&mut process.waiters);
        if name == FIRST {
            if let Some(log) = &mut self.log {
                log.flush();
            }
            if let Err(error) = exit.write(&self.directory) {
                eprintln!("the exit record was not written: {error}");
            }
        }
        for waiter in waiters {
            self.answer(waiter.client, waiter.stream, &service::wait_response(exit));
        }
        // The answers go first: they are what somebody waits for.
        self.connections.values_mut().for_each(Connection::write);
        self.finish_outputs(name);
        self.publish_exit(name, exit);
    }

    /// Whoever takes a process's output has got all of it.
    pub(crate) fn finish_outputs(&mut self, name: &str) {
        self.attachers.values_mut().filter(|attacher| attacher.is_on(name)).for_each(Attacher::finish);
        let now = Instant::now();
        self.loggers.iter_mut().filter(|logger| logger.is_of(name)).for_each(|logger| logger.finish(now));
    }

    /// Tells of processes that the kernel killed for want of memory, if there are new ones.
    pub(crate) fn note_kills(&mut self) {
        if self.oom_watch.as_mut().is_some_and(OomWatch::take) {
            self.tell_kill();
        }
    }

    fn tell_kill(&mut self) {
        self.oom_told = true;
        self.publish("/tasks/oom", &TaskOom { container_id: self.id() });
    }

    fn publish_exit(&mut self, name: &str, exit: ExitRecord) {
        let container_id = self.id();
        if name == FIRST {
            self.note_kills();
            if exit.oom_killed && !self.oom_told {
                self.tell_kill();
            }
        }
        let id = if name == FIRST { container_id.clone() } else { name.to_owned() };
        let (pid, exit_status) = (exit.pid, exit.exit_status);
        let exited_at = Some(exit.timestamp());
        self.publish("/tasks/exit", &TaskExit { container_id, id, pid, exit_status, exited_at });
    }

    /// Sends an event, if anybody wants events.
    pub(crate) fn publish<M: prost::Message + prost::Name>(&mut self, topic: &str, event: &M) {
        if let Some(publisher) = &mut self.publisher {
            publisher.add(topic, event);
        }
    }
}

/// Whether nobody can ask for it any more.
fn is_abandoned(process: &Process, connections: &BTreeMap<u64, Connection>) -> bool {
    process.owner.is_some_and(|owner| !connections.contains_key(&owner))
}
