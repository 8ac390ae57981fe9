//! Device nodes and links in `/dev`, made through a descriptor of the mount that will be `/dev`.
//!
//! An image may make its `/dev` a symbolic link to anywhere (CVE-2026-41579); it is never followed, because paths here
//! are relative to the mounted file system itself.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::{Base, Child, Device, Slot};
use crate::mount;
use crate::path::{self, PathBuffer};
use crate::syscall::Result;

/// Whether a descriptor is a null device: character device 1:3.
pub(super) fn is_null(descriptor: BorrowedFd<'_>) -> Result<bool> {
    let metadata = rustix::fs::fstat(descriptor)?;
    Ok(FileType::from_raw_mode(metadata.st_mode) == FileType::CharacterDevice
        && metadata.st_rdev == rustix::fs::makedev(1, 3))
}

impl Child<'_> {
    pub(super) fn device(&self, device: &Device) -> Result<()> {
        let (parent, name) = self.parent(device.base, &device.path)?;
        let name = name.as_c_str()?;
        let kind = FileType::from_raw_mode(device.mode);
        let mode = Mode::from_raw_mode(device.mode & 0o7777);
        let number = rustix::fs::makedev(device.major, device.minor);
        match rustix::fs::mknodat(&parent, name, kind, mode, number) {
            Err(Errno::EXIST) => {
                let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(found.st_mode) != kind || found.st_rdev != number {
                    return Err(Errno::EXIST);
                }
            }
            other => other?,
        }
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(super) fn device_mount(&self, base: Base, path: &CStr, mount: Slot) -> Result<()> {
        let base = self.base(base)?;
        let target = path::create_file_in_root(base, path, Mode::from_raw_mode(0o644))?;
        mount::attach(self.slot(mount)?, target.as_fd())
    }

    pub(super) fn link(&self, base: Base, path: &CStr, target: &CStr) -> Result<()> {
        let (parent, name) = self.parent(base, path)?;
        match rustix::fs::symlinkat(target, &parent, name.as_c_str()?) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    pub(super) fn make_directory(&self, path: &CStr) -> Result<()> {
        path::mkdir_all_in_root(self.base(Base::Root)?, path, Mode::from_raw_mode(0o755)).map(drop)
    }

    /// The directory of a path, made if need be, and the last name.
    fn parent(&self, base: Base, path: &CStr) -> Result<(OwnedFd, PathBuffer)> {
        let (directory, name) = path::split_last(path.to_bytes());
        let directory = PathBuffer::of(directory)?;
        let base = self.base(base)?;
        let parent = path::mkdir_all_in_root(base, directory.as_c_str()?, Mode::from_raw_mode(0o755))?;
        Ok((parent, PathBuffer::of(name)?))
    }
}
