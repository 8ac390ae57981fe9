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

use crate::record::ExitRecord;
use crate::streams::Streams;

/// How long output is waited for after its process has ended, if others hold it open.
const DRAIN: Duration = Duration::from_millis(100);

/// Where a process is in its life.
#[derive(Debug)]
pub enum State {
    Created(Birth),
    Running(Child),
    Ending { exit: ExitRecord, until: Instant },
    Stopped(ExitRecord),
}

/// What a process will be made of.
#[derive(Debug)]
pub enum Birth {
    /// The first process exists and waits.
    First(Child),
    /// An exec is made when it is started.
    Exec(Box<ExecPlan>),
}

/// What an exec will be.
#[derive(Debug)]
pub struct ExecPlan {
    pub process: runtime_spec::Process,
    pub stdio: Option<runtime::Stdio>,
    pub user: String,
    pub group_add: Vec<String>,
    pub set_home: bool,
    pub stdin: bool,
    pub privileged: bool,
}

/// A process that exists.
#[derive(Debug)]
pub enum Child {
    /// The container has its descriptor.
    First {
        pid: u32,
    },
    Exec(runtime::Process),
}

impl Child {
    /// Its number in our pid namespace.
    pub fn pid(&self) -> u32 {
        match self {
            Child::First { pid } => *pid,
            Child::Exec(process) => process.pid,
        }
    }
}

/// Somebody who waits for the end: connection and stream of the call.
pub type Waiter = (u64, u32);

/// A process with its streams.
#[derive(Debug)]
pub struct Process {
    pub state: State,
    pub streams: Streams,
    pub terminal: bool,
    /// The first attacher whose input ends closes the process's.
    pub stdin_once: bool,
    pub waiters: Vec<Waiter>,
}

impl Process {
    /// Its number, while it exists.
    pub fn pid(&self) -> u32 {
        match &self.state {
            State::Created(Birth::First(child)) | State::Running(child) => child.pid(),
            State::Created(Birth::Exec(_)) => 0,
            State::Ending { exit, .. } | State::Stopped(exit) => exit.pid,
        }
    }

    /// How it ended, once everything about it is known.
    pub fn exit(&self) -> Option<ExitRecord> {
        match &self.state {
            State::Stopped(exit) => Some(*exit),
            _ => None,
        }
    }

    /// It has ended; its output may not have.
    pub fn end(&mut self, exit: Exit, exited_at_ns: i64, oom_killed: bool) {
        let exit =
            ExitRecord { pid: self.pid(), exit_status: exit.status().into(), exited_at_ns, oom_killed };
        self.state = State::Ending { exit, until: Instant::now() + DRAIN };
    }
}

/// A size in a message; zero is none.
pub fn size(width: u32, height: u32) -> TerminalSize {
    let narrow = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    TerminalSize { width: narrow(width), height: narrow(height) }
}
