//! A container, from the moment that its first process exists.
//!
//! ```text
//! create ──▶ created ──start──▶ running ◀──pause / resume──▶ paused
//!               └───────kill──────┴──▶ stopped ──destroy──▶ gone
//! ```
//!
//! Only the process that created a container is its parent and can reap it; after a re-exec of that process (same
//! pid) [`Container::attach`] takes up [`State`] and [`Descriptors`] again.

use std::os::fd::{BorrowedFd, OwnedFd};

use linux::pidfd::Exit;
use oci::runtime_spec::Resources;
use serde::{Deserialize, Serialize};

use crate::cgroup::Stats;
use crate::error::Result;

/// A container whose first process exists, or existed and is not yet destroyed.
#[derive(Debug)]
pub struct Container {}

/// What is needed to take up a container again, beside its descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub id: String,
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: tells our process from a later one with its number.
    pub start_time_ticks: u64,
    pub cgroup: String,
    /// The compiled filter, which later processes get too.
    pub seccomp: Option<Filter>,
}

/// A compiled system call filter as plain numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub flags: u32,
    /// `struct sock_filter`, packed: code, jt, jf, k from the highest bits down.
    pub instructions: Vec<u64>,
}

/// What a container holds open. Keep them across an execve(2) by clearing their close-on-exec flags.
#[derive(Debug)]
pub struct Descriptors {
    pub pidfd: OwnedFd,
    /// Keeps the overlay mounted, see [`crate::Rootfs`].
    pub rootfs: OwnedFd,
    /// Until the container is started: where to say so, and where the answer comes from.
    pub start: Option<(OwnedFd, OwnedFd)>,
}

impl Container {
    pub fn id(&self) -> &str {
        todo!()
    }
    /// The first process, in our pid namespace.
    pub fn pid(&self) -> u32 {
        todo!()
    }
    /// The first process; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Lets the first process execute its program; returns when it does.
    pub fn start(&mut self) -> Result<()> {
        todo!()
    }
    /// Reaps the first process if it has ended; never blocks. `Some` again and again afterwards.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        todo!()
    }
    /// The container's `/` as its first process sees it, volumes included.
    pub fn root(&self) -> Result<OwnedFd> {
        todo!()
    }
    /// Sends a signal to the first process. `NotFound` once it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let _ = signal;
        todo!()
    }
    /// Sends a signal to every process of the container; with `SIGKILL` returns when none is left.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let _ = signal;
        todo!()
    }
    /// Freezes every process.
    pub fn pause(&self) -> Result<()> {
        todo!()
    }
    /// Undoes [`Container::pause`].
    pub fn resume(&self) -> Result<()> {
        todo!()
    }
    pub fn is_paused(&self) -> Result<bool> {
        todo!()
    }
    /// Every process, by its number in our pid namespace.
    pub fn processes(&self) -> Result<Vec<u32>> {
        todo!()
    }
    /// What it uses now.
    pub fn stats(&self) -> Result<Stats> {
        todo!()
    }
    /// Processes that the kernel killed for want of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        todo!()
    }
    /// Changes the limits.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let _ = resources;
        todo!()
    }
    /// Kills what is left and removes the cgroup; then lets go of the root file system, which may take long.
    pub fn destroy(self) -> Result<()> {
        todo!()
    }
    /// What [`Container::attach`] needs.
    pub fn state(&self) -> State {
        todo!()
    }
    /// Takes up a container after a re-exec.
    pub fn attach(state: State, descriptors: Descriptors) -> Result<Container> {
        let _ = (state, descriptors);
        todo!()
    }
    /// Gives the descriptors away, to survive a re-exec.
    pub fn into_descriptors(self) -> Descriptors {
        todo!()
    }
}
