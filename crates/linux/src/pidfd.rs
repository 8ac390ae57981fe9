//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) with `P_PIDFD`.
//!
//! A pidfd names one process for ever; a number may be reused by the time that a signal is sent.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::syscall::{self, Result};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit(3) with this status.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

impl Exit {
    /// The number that shells and Docker report: the code, or 128 plus the signal.
    pub fn status(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// Opens a process by its number in our pid namespace.
pub fn open(pid: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// Sends any signal, real-time ones included, to exactly this process.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the kernel reads nothing through a null `info`; all other arguments are plain numbers.
    let returned =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    syscall::check(returned).map(drop)
}

/// Reaps a child that has ended; `None` while it runs. Only its parent can.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Option<Exit>> {
    wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Waits for a child to end and reaps it.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        match wait_with(pidfd, WaitIdOptions::EXITED) {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>> {
    let Some(status) = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)? else {
        return Ok(None);
    };
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code((code & 0xff) as u8),
        (None, signal) => Exit::Signal(signal.and_then(|signal| u8::try_from(signal).ok()).unwrap_or(0)),
    };
    Ok(Some(exit))
}

#[cfg(test)]
#[expect(clippy::zombie_processes, reason = "the function under test reaps them")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn exits_are_told_apart() {
        for (script, expected, status) in [("exit 7", Exit::Code(7), 7), ("kill -9 $$", Exit::Signal(9), 137)]
        {
            let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pidfd = open(child.id()).unwrap();
            let exit = wait(pidfd.as_fd()).unwrap();
            assert_eq!((exit, exit.status()), (expected, status), "{script}");
            assert_eq!(send_signal(pidfd.as_fd(), 0), Err(rustix::io::Errno::SRCH));
        }
    }

    #[test]
    fn a_running_child_is_not_reaped() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert_eq!(try_wait(pidfd.as_fd()), Ok(None));
        send_signal(pidfd.as_fd(), libc::SIGRTMIN()).unwrap();
        assert_eq!(wait(pidfd.as_fd()), Ok(Exit::Signal(34)));
    }

    #[test]
    fn impossible_numbers_are_nobody() {
        assert!(open(0).is_err());
        assert!(open(u32::MAX).is_err());
    }
}
