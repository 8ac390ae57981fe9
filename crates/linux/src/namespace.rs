//! Namespaces of the calling thread: setns(2), unshare(2).

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use crate::syscall::Result;

/// `CLONE_NEW…` of each kind.
pub const CGROUP: u32 = UnshareFlags::NEWCGROUP.bits();
pub const IPC: u32 = UnshareFlags::NEWIPC.bits();
pub const MOUNT: u32 = UnshareFlags::NEWNS.bits();
pub const NETWORK: u32 = UnshareFlags::NEWNET.bits();
pub const PID: u32 = UnshareFlags::NEWPID.bits();
pub const TIME: u32 = UnshareFlags::NEWTIME.bits();
pub const USER: u32 = UnshareFlags::NEWUSER.bits();
pub const UTS: u32 = UnshareFlags::NEWUTS.bits();

/// Enters the namespaces of `kinds`: of the process, if `descriptor` is a pidfd; else it is one namespace, and the kernel
/// checks that it is of that kind. Entering a pid namespace concerns the children that are cloned later only.
pub fn enter(descriptor: BorrowedFd<'_>, kinds: u32) -> Result<()> {
    // The same system call for both; rustix's other wrapper differs only in taking a single kind.
    rustix::thread::move_into_thread_name_spaces(descriptor, ThreadNameSpaceType::from_bits_retain(kinds))
}

/// The calling thread's own pid namespace.
pub(crate) fn own_pid_namespace() -> Result<OwnedFd> {
    rustix::fs::open(c"/proc/thread-self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
