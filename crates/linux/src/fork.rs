//! Leaving one's parent: fork(2) and setsid(2).
#![allow(unsafe_code)]

use crate::syscall::{self, Result};

/// Which side of a [`detach`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The original process, whose caller waits for it.
    Parent,
    /// The new process, in a session of its own.
    Child,
}

/// Goes on in a child process with a session of its own, and in the parent, which should soon end.
///
/// # Panics
/// When the process has more than one thread: the child would hold locks of threads that it does not have.
pub fn detach() -> Result<Side> {
    assert_eq!(threads(), Some(1), "only a process with one thread may detach");
    // SAFETY: this is the only thread, so no lock is held by another and the child's memory is whole.
    let pid = unsafe { libc::fork() };
    syscall::check(pid.into())?;
    if pid != 0 {
        return Ok(Side::Parent);
    }
    rustix::process::setsid()?;
    Ok(Side::Child)
}

fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}
