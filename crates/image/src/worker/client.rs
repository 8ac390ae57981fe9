//! The daemon's side of a worker: start it, hand it its descriptors, wait for what it says.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use api::code::Code;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::compare::Comparison;
use super::files::FilesRequest;
use super::protocol::{
    self, Limits, MAX_LOWERS, Message, Outcome, Packing, Progress, Refusal, Request, Task,
};

use crate::apply::Whiteouts;
use crate::files::FileStat;

/// How to start a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    pub program: PathBuf,
    /// What comes before the task's name.
    pub arguments: Vec<OsString>,
}

impl Default for WorkerCommand {
    /// This executable's own applet.
    fn default() -> WorkerCommand {
        WorkerCommand { program: "/proc/self/exe".into(), arguments: vec!["worker".into()] }
    }
}

/// One task for a worker.
pub(crate) struct Job<'a> {
    pub(crate) task: Task,
    pub(crate) limits: Limits,
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) directory: BorrowedFd<'a>,
    /// Topmost first.
    pub(crate) lowers: Vec<BorrowedFd<'a>>,
    pub(crate) whiteouts: Whiteouts,
    pub(crate) packing: Packing,
}

/// Why a worker did not do its task.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("the worker ended without an answer ({0})")]
    Died(ExitStatus),
    #[error("the image has more than {MAX_LOWERS} layers")]
    TooManyLayers,
    #[error("the container has more than {MAX_LOWERS} mounts")]
    TooManyMounts,
    #[error("{0}")]
    Refused(Refusal),
    #[error("the worker cannot be started")]
    Start(#[source] io::Error),
    #[error("the worker cannot be talked to")]
    Talk(#[source] io::Error),
}

impl WorkerError {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            WorkerError::Refused(refusal) => refusal.code(),
            WorkerError::TooManyLayers | WorkerError::TooManyMounts => Code::InvalidArgument,
            WorkerError::Died(_) | WorkerError::Start(_) | WorkerError::Talk(_) => Code::Internal,
        }
    }
}

/// A started worker; it does not outlive this value.
struct Worker {
    child: Child,
    socket: OwnedFd,
}

impl WorkerCommand {
    /// Has one task done. Blocks until it is done.
    pub(crate) fn run(
        &self,
        job: &Job<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome, WorkerError> {
        if job.lowers.len() > MAX_LOWERS {
            return Err(WorkerError::TooManyLayers);
        }
        let request = Request {
            task: job.task,
            limits: job.limits,
            lower_count: job.lowers.len(),
            whiteouts: job.whiteouts,
            packing: job.packing,
            comparison: None,
            files: None,
        };
        let mut told = |message| {
            if let Message::Progress(step) = message {
                progress(step);
            }
        };
        self.ask(&request, [job.input, job.directory], &job.lowers, &mut told)
    }

    /// Has what makes one tree into another packed into `output`: `layers` are those of both. Blocks until it is done.
    pub(crate) fn run_comparison(
        &self,
        comparison: Comparison,
        packing: Packing,
        output: BorrowedFd<'_>,
        layers: &[BorrowedFd<'_>],
    ) -> Result<Outcome, WorkerError> {
        if layers.len() > MAX_LOWERS {
            return Err(WorkerError::TooManyLayers);
        }
        let request = Request {
            task: Task::Compare,
            limits: Limits::default(),
            lower_count: layers.len(),
            whiteouts: Whiteouts::default(),
            packing,
            comparison: Some(comparison),
            files: None,
        };
        // No directory of its own: what it reads are the lower ones.
        self.ask(&request, [output, output], layers, &mut |_| {})
    }

    /// Has something done with a container's files: `stream` is what comes out, or goes in. Blocks until it is done.
    pub(crate) fn run_files(
        &self,
        files: FilesRequest,
        [stream, root]: [BorrowedFd<'_>; 2],
        mounts: &[BorrowedFd<'_>],
        found: &mut dyn FnMut(FileStat),
    ) -> Result<Outcome, WorkerError> {
        if mounts.len() > MAX_LOWERS {
            return Err(WorkerError::TooManyMounts);
        }
        let request = Request {
            task: Task::Files,
            limits: Limits::default(),
            lower_count: mounts.len(),
            whiteouts: Whiteouts::default(),
            packing: Packing::default(),
            comparison: None,
            files: Some(files),
        };
        let mut told = |message| {
            if let Message::Found(stat) = message {
                found(stat);
            }
        };
        self.ask(&request, [stream, root], mounts, &mut told)
    }

    /// Starts a worker, and tells what it says until its last word.
    fn ask(
        &self,
        request: &Request,
        descriptors: [BorrowedFd<'_>; 2],
        lowers: &[BorrowedFd<'_>],
        told: &mut dyn FnMut(Message),
    ) -> Result<Outcome, WorkerError> {
        let mut worker = self.start(request.task).map_err(WorkerError::Start)?;
        match protocol::send_request(worker.socket.as_fd(), request, descriptors, lowers) {
            // It died before it read everything: its status says more.
            Ok(()) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {}
            Err(errno) => return Err(WorkerError::Talk(errno.into())),
        }
        loop {
            match protocol::receive_message(worker.socket.as_fd()).map_err(WorkerError::Talk)? {
                Some(Message::Done(outcome)) => return Ok(outcome),
                Some(Message::Refused(refusal)) => return Err(WorkerError::Refused(refusal)),
                Some(message) => told(message),
                None => return Err(WorkerError::Died(worker.child.wait().map_err(WorkerError::Talk)?)),
            }
        }
    }

    fn start(&self, task: Task) -> io::Result<Worker> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(task.name())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Worker { child, socket: ours })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has said its last word, or shall not say it: either way nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
