//! The root file system of a container, as a mount that only we hold.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::mount::Mount;

use crate::error::Result;

/// A mounted tree that is attached nowhere until a container's first process takes it as `/`.
///
/// Keep it open (a [`crate::Container`] does) until the container's exit has been told: the last one to let go pays for
/// the overlay's final sync, and that must not be the exiting process.
#[derive(Debug)]
pub struct Rootfs {
    mount: OwnedFd,
}

impl Rootfs {
    /// Performs what a snapshotter returned: one `overlay`, `bind` or plain file system mount.
    pub fn mount(mounts: &[Mount]) -> Result<Rootfs> {
        let _ = mounts;
        todo!()
    }

    /// Takes a directory of the host, with what is mounted below it.
    pub fn bind(path: &Path) -> Result<Rootfs> {
        let _ = path;
        todo!()
    }

    /// The root directory, to look into before there is a container ([`crate::user::resolve`]).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}
