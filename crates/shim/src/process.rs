//! One process of the container: its first one, or an exec.
//!
//! ```text
//! Created ──start──▶ Running ──pidfd──▶ Ending ──output drained──▶ Stopped ──delete──▶ (gone)
//!    └──────────────── killed before start ───────▲
//! ```
//!
//! *Ending* is a process that has ended and whose output has not: what is in the pipes belongs into the log before the end is
//! told. Somebody else may hold the other end of a pipe (a grandchild of an exec): then what is there is taken, and that is all.

use std::time::{Duration, Instant};

use linux::pidfd::Exit;
use oci::runtime_spec;
use runtime::TerminalSize;

use crate::attach::Kept;
use crate::log;
use crate::record::ExitRecord;
use crate::streams::Streams;

/// How long output is waited for after its process has ended, if others hold it open.
const DRAIN: Duration = Duration::from_millis(100);

/// How long a process that had a time is remembered after it, for whoever wants to delete it.
pub(crate) const REMEMBER: Duration = Duration::from_secs(60);

/// Where a process is in its life.
#[derive(Debug)]
pub(crate) enum State {
    Created(Birth),
    Running(Child),
    Ending { exit: ExitRecord, until: Instant },
    Stopped(ExitRecord),
}

/// What a process will be made of.
#[derive(Debug)]
pub(crate) enum Birth {
    /// The first process exists and waits.
    First { pid: u32 },
    /// An exec is made when it is started.
    Exec(Box<ExecPlan>),
}

/// What an exec will be.
#[derive(Debug)]
pub(crate) struct ExecPlan {
    pub(crate) process: runtime_spec::Process,
    pub(crate) stdio: runtime::Stdio,
    /// `None`: as `process` says.
    pub(crate) who: Option<Who>,
    pub(crate) stdin: bool,
    pub(crate) privileged: bool,
    /// How long it may run.
    pub(crate) timeout: Option<Duration>,
}

/// Whom a process runs as, where that depends on the container's own files.
#[derive(Debug, Default)]
pub(crate) struct Who {
    pub(crate) user: String,
    pub(crate) group_add: Vec<String>,
    pub(crate) set_home: bool,
}

/// A process that exists.
#[derive(Debug)]
pub(crate) enum Child {
    /// The container has its descriptor.
    First {
        pid: u32,
    },
    Exec(runtime::Process),
}

impl Child {
    /// Its number in our pid namespace.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Child::First { pid } => *pid,
            Child::Exec(process) => process.pid,
        }
    }
}

/// What containerd's client named as streams, for it to read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StdioPaths {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Somebody who waits for the end: a connection and a call on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) client: u64,
    pub(crate) stream: u32,
}

/// A process with its streams.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) state: State,
    pub(crate) streams: Streams,
    pub(crate) terminal: bool,
    /// The first attacher whose input ends closes the process's.
    pub(crate) stdin_once: bool,
    pub(crate) paths: StdioPaths,
    pub(crate) kept: Option<Kept>,
    pub(crate) waiters: Vec<Waiter>,
    /// The connection that it was made on, if nobody can ask for it on another one: our daemon's execs.
    pub(crate) owner: Option<u64>,
    /// When it must be over: then it is killed, or forgotten if it has ended and nobody deleted it.
    pub(crate) due: Option<Instant>,
}

impl Process {
    /// Its number; 0 while there is none.
    pub(crate) fn pid(&self) -> u32 {
        match &self.state {
            State::Created(Birth::First { pid }) => *pid,
            State::Created(Birth::Exec(_)) => 0,
            State::Running(child) => child.pid(),
            State::Ending { exit, .. } | State::Stopped(exit) => exit.pid,
        }
    }

    /// How it ended, once everything about it is known.
    pub(crate) fn exit(&self) -> Option<ExitRecord> {
        match &self.state {
            State::Stopped(exit) => Some(*exit),
            _ => None,
        }
    }

    /// It is of no interest any more as soon as it does not run.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Created(_) | State::Stopped(_))
    }

    /// It has ended; its output may not have.
    pub(crate) fn end(&mut self, exit: Exit, oom_killed: bool) {
        let exit = ExitRecord {
            pid: self.pid(),
            exit_status: exit.status().into(),
            exited_at_ns: log::now_ns(),
            oom_killed,
        };
        self.state = State::Ending { exit, until: Instant::now() + DRAIN };
    }

    /// When something is to be done about it, whatever happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ending = match &self.state {
            State::Ending { until, .. } => Some(*until),
            _ => None,
        };
        ending.into_iter().chain(self.kept.as_ref().map(Kept::deadline)).chain(self.due).min()
    }
}

/// A size in a message; zero is none.
pub(crate) fn size(width: u32, height: u32) -> TerminalSize {
    let narrow = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    TerminalSize { width: narrow(width), height: narrow(height) }
}
