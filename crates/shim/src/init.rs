//! `--init`: the first process of a container whose own program should not have to be one. The shim's executable is it under
//! the name `docker-init`.
//!
//! It starts the program in a process group of its own (in the foreground, if there is a terminal), passes every signal
//! on to it, reaps whoever is orphaned, and ends as the program ends: with its code, or 128 plus the signal.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use linux::signal::{self, SIGCHLD};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// The name that makes the executable an init, and where it is in a container, as in Docker.
pub const NAME: &str = "docker-init";

/// As of shells: the program is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
const FAILED: u8 = 1;

/// Runs `arguments`, after a leading `--`, to their end.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments = arguments.strip_prefix(&["--".into()]).unwrap_or(arguments);
    let Some((program, arguments)) = arguments.split_first() else {
        eprintln!("usage: {NAME} [--] PROGRAM [ARGUMENT...]");
        return ExitCode::from(FAILED);
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    let ended = match look_after(&mut command) {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    eprintln!("{NAME}: {}: {ended}", program.display());
    ExitCode::from(match ended.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        io::ErrorKind::PermissionDenied => NOT_EXECUTABLE,
        _ => FAILED,
    })
}

fn look_after(command: &mut Command) -> io::Result<u8> {
    // Before the program is there: nothing that is sent meanwhile is lost.
    let signals = signal::descriptor(&signal::forwardable())?;
    let child = signal::into_foreground(command).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    loop {
        if let Some(code) = reap(pid)? {
            return Ok(code);
        }
        poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], None)?;
        while let Some(signal) = signal::read(signals.as_fd())? {
            if signal != SIGCHLD {
                // It may have ended just now.
                let _ = signal::send(pid, signal);
            }
        }
    }
}

/// Reaps whoever has ended; how the program did, if it was among them.
fn reap(program: Pid) -> io::Result<Option<u8>> {
    while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
        if pid == program {
            return Ok(Some(code(status)));
        }
    }
    Ok(None)
}

fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
