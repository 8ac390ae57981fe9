//! `FS_IOC_SHUTDOWN`: a file system stops as if the power had failed. For tests of what is durable; ext4, xfs and f2fs have it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use crate::syscall::{Result, check};

/// `_IOR('X', 125, __u32)` of `linux/fs.h`.
const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d;

/// How much of what was not synced is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Journal {
    /// The journal, and with it names and sizes, but not the bytes of files.
    Flushed = 1,
    /// Nothing.
    Lost = 2,
}

/// Stops the file system that `file` is on. Everything fails there until it is unmounted and mounted again.
pub fn shutdown(file: impl AsFd, journal: Journal) -> Result<()> {
    let flags = journal as u32;
    // SAFETY: the kernel reads one u32, which lives until the call returns.
    let returned = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) };
    check(returned.into()).map(drop)
}
