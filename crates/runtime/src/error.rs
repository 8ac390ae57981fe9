//! Everything that can go wrong with a container, and what to tell its user.

use std::fmt;

use api::code::Code;
use rustix::io::Errno;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something that was asked for by default, could not be granted, and is not worth failing for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program does not exist. Docker's message; exit status 127.
    #[error("{message}")]
    ProgramNotFound { message: String },
    /// The program may not be, or cannot be, executed. Docker's message; exit status 126.
    #[error("{message}")]
    ProgramNotExecutable { message: String },
    /// The specification asks for something impossible or contradictory.
    #[error("{what}")]
    Invalid { what: String },
    /// The specification asks for something that is not there yet.
    #[error("{what} is not supported yet")]
    Unsupported { what: String },
    /// A preparation in the calling process failed.
    #[error("cannot {what}")]
    Prepare { what: String, source: Errno },
    /// A step of the new process failed.
    #[error("cannot {step}")]
    Step { step: String, source: Errno },
    #[error("container `{id}` is not running")]
    NotRunning { id: String },
    #[error("a process of container `{id}` does not end")]
    StillRunning { id: String },
    #[error("container `{id}` is paused")]
    Paused { id: String },
    #[error(
        "the first process of container `{id}` was killed while it was made; its memory limit may be too low"
    )]
    Died { id: String },
    #[error("container `{id}` was started already")]
    AlreadyStarted { id: String },
    /// In runc's words.
    #[error("error running {point} hook #{number}: {why}")]
    Hook { point: &'static str, number: usize, why: String },
    #[error("control group of container `{id}`")]
    Cgroup { id: String, source: crate::cgroup::Error },
    #[error("seccomp profile")]
    Seccomp { source: crate::seccomp::Error },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::ProgramNotFound { .. } => Code::NotFound,
            Error::ProgramNotExecutable { .. } => Code::PermissionDenied,
            Error::Invalid { .. } => Code::InvalidArgument,
            Error::Unsupported { .. } => Code::Unimplemented,
            Error::Prepare { source, .. } | Error::Step { source, .. } => match *source {
                Errno::NOENT | Errno::NOTDIR => Code::FailedPrecondition,
                Errno::NOSPC | Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::DQUOT => {
                    Code::ResourceExhausted
                }
                _ => Code::Internal,
            },
            Error::AlreadyStarted { .. }
            | Error::NotRunning { .. }
            | Error::Paused { .. }
            | Error::StillRunning { .. } => Code::FailedPrecondition,
            Error::Died { .. } => Code::ResourceExhausted,
            Error::Hook { .. } => Code::Unknown,
            Error::Cgroup { source, .. } => source.code(),
            Error::Seccomp { source } => source.code(),
        }
    }
}
