//! A program that takes a process's output, named by a client as `binary:///program?key=value`.
//!
//! ```text
//! start ──ready──▶ Reading ──output ended──▶ Leaving ──SIGTERM──▶ Urged ──SIGKILL──▶ (gone)
//!                     └──────────── it ends by itself ──────────────────────────────▶ (gone)
//! ```
//!
//! It is started as containerd's shims start it: the pairs of the query are its arguments, its environment is `CONTAINER_ID` and
//! `CONTAINER_NAMESPACE` alone, descriptor 3 is the process's output, 4 its errors, and with 5 it says that it reads. What it
//! does not read in time slows the process down. One that ends early loses what is printed from then on, and nothing else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use linux::signal::{SIGKILL, SIGTERM};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, Result};
use crate::uri::{Program, Readiness};

/// Until it must have said that it reads. The shim does nothing else meanwhile.
const READY_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How long it may go on after the output has ended, and then after it was told to end: 12 s in all, as in containerd.
const FAREWELL: Duration = Duration::from_secs(10);
const URGENCY: Duration = Duration::from_secs(2);

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Logger {
    /// Whose output it takes.
    exec: String,
    pidfd: OwnedFd,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Reading,
    Leaving { until: Instant },
    Urged { until: Instant },
}

/// Our ends of a program's pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Whose output a program takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) namespace: &'a str,
    /// The container's.
    pub(crate) id: &'a str,
    /// Of the process; empty for the first one.
    pub(crate) exec: &'a str,
    /// Then it has no errors apart.
    pub(crate) terminal: bool,
}

impl Logger {
    /// Starts it and waits until it reads.
    pub(crate) fn start(program: &Program, subject: Subject<'_>) -> Result<(Logger, Pipes)> {
        let failed = |source: std::io::Error| Error::Logger { path: program.path.clone(), source };
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()));
        let ((out, stdout), (err, stderr), (ready, said)) = (pipe()?, pipe()?, pipe()?);
        for ours in [&stdout, &stderr] {
            rustix::io::ioctl_fionbio(ours, true).map_err(|errno| failed(errno.into()))?;
        }
        let mut command = Command::new(&program.path);
        // As in containerd an exec is called by its own id.
        let id = if subject.exec.is_empty() { subject.id } else { subject.exec };
        command
            .args(&program.arguments)
            .env_clear()
            .env("CONTAINER_ID", id)
            .env("CONTAINER_NAMESPACE", subject.namespace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        linux::process::hand_down(&mut command, &[&out, &err, &said])
            .map_err(|errno| failed(errno.into()))?;
        // Who reaps all children reaps it, too.
        let pid = command.spawn().map_err(failed)?.id();
        let pidfd = linux::pidfd::open(pid).map_err(|errno| failed(errno.into()))?;
        let logger = Logger { exec: subject.exec.to_owned(), pidfd, phase: Phase::Reading };
        // Its own ends are its alone: when it is gone, they are closed. What the command holds goes with it.
        drop((command, out, err, said));
        wait_for(&ready, program.readiness)
            .map_err(|why| Error::LoggerNotReady { path: PathBuf::from(&program.path), why })?;
        Ok((logger, Pipes { stdout, stderr }))
    }

    pub(crate) fn is_of(&self, exec: &str) -> bool {
        self.exec == exec
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The output has ended: nothing more comes.
    pub(crate) fn finish(&mut self, now: Instant) {
        if let Phase::Reading = self.phase {
            self.phase = Phase::Leaving { until: now + FAREWELL };
        }
    }

    /// When something is to be done about it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reading => None,
            Phase::Leaving { until } | Phase::Urged { until } => Some(until),
        }
    }

    /// Does what is due; whether it still runs.
    pub(crate) fn drive(&mut self, now: Instant) -> bool {
        if has_ended(self.pidfd.as_fd()) {
            return false;
        }
        match self.phase {
            Phase::Leaving { until } if until <= now => {
                eprintln!("the logger of `{}` goes on after the end and is told to end", self.exec);
                self.signal(SIGTERM);
                self.phase = Phase::Urged { until: now + URGENCY };
                true
            }
            // It is killed by being dropped.
            Phase::Urged { until } => until > now,
            Phase::Reading | Phase::Leaving { .. } => true,
        }
    }

    fn signal(&self, signal: i32) {
        // It may have ended just now.
        let _ = linux::pidfd::send_signal(self.pidfd.as_fd(), signal);
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.signal(SIGKILL);
    }
}

/// A process's descriptor is readable once it has ended.
fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Waits until a program says that it reads; else why it does not.
fn wait_for(ready: &OwnedFd, readiness: Readiness) -> Result<(), &'static str> {
    let mut polled = [PollFd::new(ready, PollFlags::IN)];
    loop {
        match poll(&mut polled, Some(&READY_TIMEOUT)) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return Err("it has not said within 10 s that it reads"),
            Ok(_) => break,
        }
    }
    match (rustix::io::read(ready, &mut [0; 1]), readiness) {
        (Ok(1..), _) | (Ok(0), Readiness::Closes) => Ok(()),
        _ => Err("it has ended without having said that it reads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, readiness: Readiness) -> Program {
        Program { path: "/bin/sh".into(), arguments: ["-c", script].map(Into::into).into(), readiness }
    }

    const SUBJECT: Subject<'_> = Subject { namespace: "ns", id: "box", exec: "", terminal: false };

    #[test]
    fn a_program_that_never_reads_is_none() {
        let failed = |script, readiness| Logger::start(&shell(script, readiness), SUBJECT).unwrap_err();
        assert!(failed("exit 1", Readiness::Writes).to_string().contains("has ended"), "no byte");
        let program = Program { path: "/no/such".into(), ..shell("", Readiness::Closes) };
        assert!(matches!(Logger::start(&program, SUBJECT), Err(Error::Logger { .. })));
    }

    #[test]
    fn one_that_goes_on_is_told_to_end_and_then_killed() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let script =
            format!("trap 'echo told >{}' TERM; exec 5>&-; while :; do sleep 0.01; done", told.display());
        let (mut logger, _pipes) = Logger::start(&shell(&script, Readiness::Closes), SUBJECT).unwrap();
        let now = Instant::now();
        assert!(logger.drive(now + FAREWELL), "as long as there is output it stays");
        logger.finish(now);
        assert_eq!(logger.deadline(), Some(now + FAREWELL));
        assert!(logger.drive(now));
        assert!(logger.drive(now + FAREWELL));
        let is_told = || {
            std::thread::sleep(Duration::from_millis(10));
            told.exists()
        };
        assert!((0..2000).any(|_| is_told()), "it is told");
        assert!(!logger.drive(now + FAREWELL + URGENCY));
        let pidfd = rustix::io::fcntl_dupfd_cloexec(&logger.pidfd, 0).unwrap();
        drop(logger);
        assert_eq!(linux::pidfd::wait(pidfd.as_fd()).unwrap(), linux::pidfd::Exit::Signal(9));
    }
}
