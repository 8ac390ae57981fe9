//! A new process in new namespaces: clone3(2).
//!
//! The child shares nothing with its parent but descriptors. In it runs [`crate::child`] and nothing else, because
//! after a clone of a process that may have threads only code that neither allocates nor locks is sound. That is why
//! this takes a list of steps and not a closure.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::child::{self, Ends, Program, Step};
use crate::seccomp::SockFilter;
use crate::syscall::{self, Result};
use crate::{namespace, pidfd};

/// `CLONE_…` beyond 32 bits, which libc cannot name.
const CLEAR_SIGNAL_HANDLERS: u64 = 0x1_0000_0000;
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Everything that a new process needs. The parent has opened it all.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Kinds of new namespaces ([`namespace`]).
    pub namespaces: u32,
    /// The pid namespace that the child belongs to, or a pidfd of a process in it.
    pub pid_namespace: Option<BorrowedFd<'a>>,
    /// Directory of a cgroup v2 to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    pub steps: &'a [Step],
    /// What the slots of the steps stand for.
    pub descriptors: &'a [OwnedFd],
    /// Open `tasks` files of cgroup v1 hierarchies, for [`Step::JoinCgroups`].
    pub tasks: &'a [OwnedFd],
    /// For [`Step::LoadFilter`].
    pub filter: &'a [SockFilter],
    pub filter_flags: u32,
    pub program: &'a Program,
}

/// A child that runs its steps.
#[derive(Debug)]
pub struct Child {
    pub pid: u32,
    pub pidfd: OwnedFd,
    /// Where it reports ([`child::Report`]); end of file means that its program runs.
    pub report: OwnedFd,
    /// Where one byte ends its [`Step::Wait`].
    pub start: OwnedFd,
}

/// Clones a child that performs `launch`.
///
/// A child for an existing pid namespace is cloned while the calling *thread* is set to clone into it, which is undone
/// at once: no intermediate process is needed, and the child is our own, so that we can reap it. The thread itself
/// never leaves its namespaces.
pub fn spawn(launch: &Launch<'_>) -> Result<Child> {
    let (report, child_report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (child_start, start) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ends = Ends { report: child_report.as_fd(), start: child_start.as_fd() };
    let (pid, pidfd) = match launch.pid_namespace {
        None => clone(launch, ends)?,
        Some(other) => {
            let own = namespace::own_pid_namespace()?;
            namespace::enter(other, namespace::PID)?;
            let cloned = clone(launch, ends);
            let restored = namespace::enter(own.as_fd(), namespace::PID);
            match (cloned, restored) {
                (Ok((_, pidfd)), Err(errno)) => {
                    // Its namespace has it for ever, but nobody else must be born there by accident.
                    let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
                    let _ = pidfd::wait(pidfd.as_fd());
                    return Err(errno);
                }
                (cloned, _) => cloned?,
            }
        }
    };
    Ok(Child { pid, pidfd, report, start })
}

fn clone(launch: &Launch<'_>, ends: Ends<'_>) -> Result<(u32, OwnedFd)> {
    let arguments = launch.program.pointers();
    let mut pidfd = -1;
    let mut flags = u64::from(launch.namespaces) | libc::CLONE_PIDFD as u64 | CLEAR_SIGNAL_HANDLERS;
    if launch.cgroup.is_some() {
        flags |= INTO_CGROUP;
    }
    // SAFETY: all fields are integers, for which zero is valid.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = flags;
    request.pidfd = (&raw mut pidfd) as u64;
    request.exit_signal = libc::SIGCHLD as u64;
    request.cgroup = launch.cgroup.map_or(0, |directory| directory.as_raw_fd() as u64);
    // SAFETY: without CLONE_VM the child has its own copy of all memory and continues on its copy of this stack, as
    // after fork(2). It calls only `child::run`, which never returns, allocates or locks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut request, size_of::<libc::clone_args>()) };
    if pid == 0 {
        child::run(launch, &arguments, ends);
    }
    syscall::check(pid)?;
    let pid = u32::try_from(pid).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so this is a new descriptor that nobody else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}
