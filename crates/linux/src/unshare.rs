//! New namespaces for the calling thread: unshare(2).
#![allow(unsafe_code)]

use rustix::thread::UnshareFlags;

use crate::syscall::Result;

/// Gives the calling thread an empty network namespace: no interface but a loopback that is down, no abstract sockets
/// of the host.
pub fn network() -> Result<()> {
    // SAFETY: the call is only unsafe with `FILES`, which would part the threads' descriptor tables.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Gives the calling thread a copy of its mount namespace, and a root and working directory of its own.
pub fn mounts() -> Result<()> {
    // SAFETY: the call is only unsafe with `FILES`, which would part the threads' descriptor tables.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}
