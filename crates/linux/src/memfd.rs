//! Anonymous files that can be sealed: memfd_create(2), fcntl(2) `F_ADD_SEALS`.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

use crate::syscall::Result;

/// An empty anonymous file that can be sealed later. The name is only for `/proc/PID/fd`.
pub fn create(name: &CStr) -> Result<OwnedFd> {
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
}

/// Forbids every further change, for ever and for everyone.
pub fn seal(memfd: impl AsFd) -> Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(memfd, seals)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let memfd = create(c"corten-test").unwrap();
        rustix::io::write(&memfd, b"content").unwrap();
        seal(&memfd).unwrap();
        assert_eq!(rustix::io::write(&memfd, b"more"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&memfd, 0), Err(Errno::PERM));
    }
}
