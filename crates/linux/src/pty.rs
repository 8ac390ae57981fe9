//! Pseudo-terminals: pty(7), ioctl_tty(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::syscall::Result;

/// Opens a new terminal of the devpts instance whose root is `devpts`; returns the master.
///
/// The instance need not be mounted anywhere: the master's peer is found through the descriptor, so no path inside
/// a container is trusted.
pub fn open_master(devpts: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(devpts, c"ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    Ok(master)
}

/// Makes the other side of a master a user's. It is the one that the instance has below the terminal's number; its group, if the
/// instance chose one, stays.
pub fn give(devpts: BorrowedFd<'_>, master: BorrowedFd<'_>, user: u32, group: u32) -> Result<()> {
    let name = rustix::pty::ptsname(master, Vec::new())?;
    let number = name.to_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let chosen = rustix::fs::statat(devpts, number, AtFlags::SYMLINK_NOFOLLOW)?.st_gid;
    let group = (chosen == rustix::process::getegid().as_raw()).then(|| Gid::from_raw(group));
    rustix::fs::chownat(devpts, number, Some(Uid::from_raw(user)), group, AtFlags::SYMLINK_NOFOLLOW)
}

/// The other side of a master (`TIOCGPTPEER`).
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::pty::ioctl_tiocgptpeer(
        master.as_fd(),
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
}

/// Sets the size in characters; the foreground process group gets `SIGWINCH`.
pub fn resize(master: BorrowedFd<'_>, width: u16, height: u16) -> Result<()> {
    let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size)
}
