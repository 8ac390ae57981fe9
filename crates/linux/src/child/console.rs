//! Standard descriptors and the terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::device::is_null;
use super::{Base, Child};
use crate::syscall::Result;
use crate::{mount, path, pty};

/// Makes `to` a copy of `from` that survives execve(2).
pub(super) fn redirect(from: BorrowedFd<'_>, to: u8) -> Result<()> {
    match to {
        0 => rustix::stdio::dup2_stdin(from),
        1 => rustix::stdio::dup2_stdout(from),
        2 => rustix::stdio::dup2_stderr(from),
        _ => Err(Errno::BADF),
    }
}

/// The peer is found through the master's descriptor: `/dev/pts/N` is a path that the container could redirect.
pub(super) fn take_terminal(master: BorrowedFd<'_>) -> Result<()> {
    let terminal = pty::peer(master)?;
    rustix::process::ioctl_tiocsctty(&terminal)?;
    (0..=2).try_for_each(|to| redirect(terminal.as_fd(), to))
}

/// Lets a user open `/dev/stdout` again. Files that cannot change hands are left as they are, and so is the
/// `/dev/null` that all processes of the container share.
pub(super) fn own_stdio(uid: u32) -> Result<()> {
    for descriptor in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if is_null(descriptor)? {
            continue;
        }
        match rustix::fs::fchown(descriptor, Some(Uid::from_raw(uid)), None) {
            Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            other => other?,
        }
    }
    Ok(())
}

impl Child<'_> {
    pub(super) fn console(&mut self, base: Base) -> Result<()> {
        let name = match base {
            Base::Root => c"dev/console",
            Base::Devices => c"console",
        };
        let target = path::create_file_in_root(self.base(base)?, name, Mode::from_raw_mode(0o600))?;
        let terminal = mount::copy(rustix::stdio::stdin(), c"", false)?;
        mount::attach(terminal.as_fd(), target.as_fd())
    }

    /// The container's own null device, so that nobody inside holds an inode of the host's `/dev`.
    pub(super) fn null(&self) -> Result<OwnedFd> {
        let (base, name) = match self.devices {
            Some(_) => (Base::Devices, c"null"),
            None => (Base::Root, c"dev/null"),
        };
        let opened =
            path::open_in_root(self.base(base)?, name, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY)?;
        if is_null(opened.as_fd())? { Ok(opened) } else { Err(Errno::NODEV) }
    }
}

/// Whether a file is of this type; used where a path of the container may be anything.
pub(super) fn is_type(descriptor: BorrowedFd<'_>, kind: FileType) -> Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode) == kind)
}
