//! `exec`: another process in a running container, confined exactly like the first one.

use std::os::fd::OwnedFd;

use linux::pidfd::Exit;
use oci::runtime_spec;

use crate::container::Container;
use crate::error::{Result, Warning};
use crate::stdio::Stdio;

/// What to execute in a running container.
#[derive(Debug)]
pub struct Exec<'a> {
    pub process: &'a runtime_spec::Process,
    pub stdio: Stdio,
    /// See [`crate::Create::default_rlimits`].
    pub default_rlimits: &'a [String],
    /// Without the container's seccomp filter, as `docker exec --privileged`.
    pub privileged: bool,
}

/// A process of ours; whoever holds it reaps it.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub pidfd: OwnedFd,
    /// The master of [`Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<Warning>,
}

impl Process {
    /// Reaps it if it has ended; never blocks. Poll `pidfd` for readability to know when.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        todo!()
    }
    /// Sends a signal; fails with `NotFound` once it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let _ = signal;
        todo!()
    }
}

impl Container {
    /// Starts another process; returns when its program runs, or with the same errors as [`crate::create`].
    pub fn exec(&self, request: Exec<'_>) -> Result<Process> {
        let _ = request;
        todo!()
    }
}
