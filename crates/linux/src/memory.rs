//! When the allocator gives memory back: mallopt(3), malloc_trim(3). Who hears of want of memory: eventfd(2).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::syscall::Result;

/// Blocks of `bytes` and more go back to the kernel when they are freed, and so does the end of the heap when that much of it is
/// free.
///
/// Unasked, glibc raises the first threshold to the size of any larger block that is freed, and the second to twice as much:
/// after one burst a process keeps megabytes for the next.
pub fn give_back_from(bytes: c_int) {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: it takes two numbers. It fails for thresholds above the largest heap; then the default stays.
        let _is_set = unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Gives back every page that holds nothing, also between blocks that are in use. Takes some tenths of a millisecond, during which
/// other threads may have to wait.
pub fn give_back() {
    // SAFETY: it takes the number of bytes to keep, and says whether there were any to give.
    let _given = unsafe { libc::malloc_trim(0) };
}

/// An eventfd, and the line for `cgroup.event_control` that makes the kernel write to it before each kill in the group of
/// `control`, which is `memory.oom_control` of a cgroup v1 (`cgroup-v1/memory.rst`, "OOM Control").
pub fn oom_events(control: BorrowedFd<'_>) -> Result<(OwnedFd, String)> {
    let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let line = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
    Ok((events, line))
}
