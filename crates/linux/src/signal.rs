//! Signals as a stream to poll, and what a first process does with them: signalfd(2), sigprocmask(2), kill(2).
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::syscall::{self, Result};

/// A child has ended, stopped or gone on.
pub const SIGCHLD: i32 = libc::SIGCHLD;
/// Ends a process; it cannot be caught.
pub const SIGKILL: i32 = libc::SIGKILL;
/// Asks a process to end.
pub const SIGTERM: i32 = libc::SIGTERM;

/// Blocks `signals` in this thread and returns a non-blocking descriptor that reports them instead.
///
/// Threads that are spawned later inherit the mask; call it first thing.
pub fn descriptor(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: `set` is initialised; the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    if failed != 0 {
        return Err(Errno::from_raw_os_error(failed));
    }
    // SAFETY: `set` is initialised, and -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    syscall::check(fd.into())?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next pending signal of a [`descriptor`]; `None` when there is none.
pub fn read(descriptor: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is writable for `size` bytes.
    let returned = unsafe { libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    match syscall::check(returned as libc::c_long) {
        Ok(_) => {
            // SAFETY: a signalfd delivers whole structures only, so a successful read filled it.
            let info = unsafe { info.assume_init() };
            Ok(i32::try_from(info.ssi_signo).ok())
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Every signal that can be caught and is not the consequence of what the process itself does.
pub fn forwardable() -> Vec<i32> {
    let own = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGABRT,
        libc::SIGTRAP,
        libc::SIGSYS,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    (1..=libc::SIGRTMAX()).filter(|signal| !own.contains(signal)).collect()
}

/// Sends any signal, real-time ones included, to a process by its number: a child of the caller that was not reaped.
pub fn send(process: Pid, signal: i32) -> Result<()> {
    // SAFETY: plain numbers.
    let returned = unsafe { libc::kill(process.as_raw_nonzero().get(), signal) };
    syscall::check(returned.into()).map(drop)
}

/// Makes the child begin with no signal blocked, whatever its parent blocks, and its process group the foreground of the
/// terminal on its standard input, if that is one.
pub fn into_foreground(command: &mut Command) -> &mut Command {
    let in_child = || {
        let background = set_of(&[libc::SIGTTOU]);
        // SAFETY: as below. Who is in the background would be stopped by what follows.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &background, std::ptr::null_mut()) };
        // Without a terminal there is no foreground.
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
        let none = set_of(&[]);
        // SAFETY: `none` is initialised; the old mask is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) } {
            0 => Ok(()),
            failed => Err(std::io::Error::from_raw_os_error(failed)),
        }
    };
    // SAFETY: the closure makes plain system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(in_child) }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the line above.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: `set` is initialised; a number that is no signal is refused with EINVAL and changes nothing.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn blocked_signals_are_read_once() {
        // The mask is this thread's own.
        let signals = descriptor(&[libc::SIGUSR2]).unwrap();
        assert_eq!(read(signals.as_fd()), Ok(None));
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        // SAFETY: sends a signal that this thread blocks to this thread.
        unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, libc::SIGUSR2) };
        assert_eq!(read(signals.as_fd()), Ok(Some(libc::SIGUSR2)));
        assert_eq!(read(signals.as_fd()), Ok(None));
    }
}
