//! Pseudo-terminals: pty(7), ioctl_tty(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
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
