//! Owner, mode, extended attributes and times of what was made.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::{During, EntryProblem, EntryResult};
use crate::tar::{Entry, Time, Xattr};

/// Prefixes that an archive may not set: they steer the overlay that the files end up in, or the kernel.
const FORBIDDEN_XATTRS: [&[u8]; 2] = [b"trusted.", b"user.overlay."];

/// The mark of a directory that hides what lower layers have.
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// What an archive says about a file besides its name, content and time.
pub(super) struct Attributes<'a> {
    uid: u32,
    gid: u32,
    mode: u32,
    xattrs: &'a [Xattr],
}

impl<'a> Attributes<'a> {
    /// Checks before anything is made.
    pub(super) fn of(entry: &'a Entry) -> EntryResult<Attributes<'a>> {
        let is_forbidden =
            |xattr: &&Xattr| FORBIDDEN_XATTRS.iter().any(|prefix| xattr.name.starts_with(prefix));
        if let Some(xattr) = entry.xattrs.iter().find(is_forbidden) {
            return Err(EntryProblem::Xattr(xattr.name.clone()));
        }
        Ok(Attributes { uid: entry.uid, gid: entry.gid, mode: entry.mode, xattrs: &entry.xattrs })
    }

    /// Sets all on an open file; returns how many attributes are not supported.
    pub(super) fn set_on(&self, file: BorrowedFd<'_>) -> EntryResult<u64> {
        let (owner, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(file, Some(owner), Some(group)).during("changing its owner")?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).during("changing its mode")?;
        let mut skipped = 0;
        for xattr in self.xattrs {
            let name = OsStr::from_bytes(&xattr.name);
            match rustix::fs::fsetxattr(file, name, &xattr.value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => skipped += 1,
                other => other.during("setting an extended attribute")?,
            }
        }
        Ok(skipped)
    }

    /// Sets all but the mode on what is open as a path only: links, devices, fifos.
    pub(super) fn set_on_path(&self, made: BorrowedFd<'_>) -> EntryResult<u64> {
        set_owner(made, self.uid, self.gid).during("changing its owner")?;
        let mut skipped = 0;
        for xattr in self.xattrs {
            let attribute = OsStr::from_bytes(&xattr.name);
            match rustix::fs::setxattr(magic_link(made), attribute, &xattr.value, XattrFlags::empty()) {
                // `user.` attributes are not permitted on anything but files and directories.
                Err(Errno::OPNOTSUPP | Errno::PERM) => skipped += 1,
                other => other.during("setting an extended attribute")?,
            }
        }
        Ok(skipped)
    }
}

/// Copies owner, mode, extended attributes and time of a file of a lower layer.
pub(super) fn copy(from: BorrowedFd<'_>, stat: &Stat, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(from, to)?;
    set_time(to, time_of(stat))
}

/// As [`copy`], for what is open as a path only.
pub(super) fn copy_on_path(stat: &Stat, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    set_owner(to, stat.st_uid, stat.st_gid)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        set_mode(to, stat.st_mode & 0o7777)?;
    }
    set_time_on_path(to, time_of(stat))
}

fn set_owner(made: BorrowedFd<'_>, uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(made, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH)
}

/// Of anything but a link.
pub(super) fn set_mode(made: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(magic_link(made), Mode::from_raw_mode(mode))
}

/// Leads to what is open, and to nothing else whatever its name leads to by now: for calls that take no descriptor of a path.
fn magic_link(made: BorrowedFd<'_>) -> Vec<u8> {
    [b"/proc/self/fd/", rustix::path::DecInt::from_fd(made).as_bytes()].concat()
}

fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    /// The kernel's own bounds of a list of names and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
    const MAX_SIZE: usize = 65_536;
    let mut names = vec![0; MAX_SIZE];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0; MAX_SIZE];
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        // What the overlay notes about a file does not hold for its copy.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let name = OsStr::from_bytes(name);
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Marks a directory so that an overlay shows nothing of lower layers in it.
pub(super) fn make_opaque(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(directory, OPAQUE_XATTR, b"y", XattrFlags::empty())
}

/// Whether a directory carries that mark.
pub(super) fn is_opaque(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(directory, OPAQUE_XATTR, &mut value[..]) {
        Ok(length) => Ok(length == 1 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn set_time(file: BorrowedFd<'_>, time: Time) -> rustix::io::Result<()> {
    rustix::fs::futimens(file, &timestamps(time))
}

pub(super) fn set_time_on_path(made: BorrowedFd<'_>, time: Time) -> rustix::io::Result<()> {
    rustix::fs::utimensat(made, c"", &timestamps(time), AtFlags::EMPTY_PATH)
}

/// When a file was modified.
pub(super) fn time_of(stat: &Stat) -> Time {
    // The kernel never gives a second's worth of nanoseconds.
    Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}

fn timestamps(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
    }
}

pub(super) fn no_follow() -> AtFlags {
    AtFlags::SYMLINK_NOFOLLOW
}
