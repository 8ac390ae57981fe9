//! Why a request cannot be served.

use std::io;
use std::path::PathBuf;

use api::code::Code;
use rustix::io::Errno;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the shim is not bound to a container")]
    NotBound,
    #[error("the daemon of this spare shim is gone")]
    Orphaned,
    #[error("this is the shim of container `{id}`")]
    OtherContainer { id: String },
    #[error("task `{id}` already exists")]
    TaskExists { id: String },
    #[error("the task does not exist")]
    NoTask,
    #[error("the sandbox does not exist")]
    NoSandbox,
    #[error("sandbox `{id}` already exists")]
    SandboxExists { id: String },
    #[error("the sandbox is {0}")]
    SandboxIs(&'static str),
    #[error("exec `{exec}` already exists")]
    ExecExists { exec: String },
    #[error("exec `{exec}` does not exist")]
    NoExec { exec: String },
    #[error("more than {max} execs at one time")]
    TooManyExecs { max: usize },
    #[error("the process has not been started")]
    NotStarted,
    #[error("the process was started already")]
    AlreadyStarted,
    #[error("the process has not ended")]
    NotEnded,
    #[error("the container is not paused")]
    NotPaused,
    #[error("the process has ended already")]
    Ended,
    #[error("the process was deleted")]
    Deleted,
    #[error("the request lacks {what}")]
    Missing { what: &'static str },
    #[error("malformed {what}")]
    Message { what: &'static str, source: prost::DecodeError },
    #[error("malformed {what}")]
    Document { what: &'static str, source: serde_json::Error },
    #[error("options of type `{type_url}` are not known here")]
    UnknownOptions { type_url: String },
    #[error("runtime option `{option}`{value} is not supported: {why}")]
    Option { option: &'static str, value: String, why: &'static str },
    #[error("signal {number} does not exist")]
    Signal { number: u32 },
    #[error("{what} is not supported yet")]
    Unsupported { what: String },
    #[error("`{service}/{method}` is not served here")]
    NoMethod { service: String, method: String },
    #[error("cannot {what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("`{path}` is larger than {max} bytes")]
    TooLarge { path: PathBuf, max: u64 },
    #[error("cannot {what}")]
    System { what: &'static str, source: Errno },
    /// In containerd's words.
    #[error("unknown STDIO scheme {scheme}, hint: there are fifo, file, binary and binary-v2")]
    Scheme { scheme: String },
    #[error("`{uri}` names no path")]
    NoPath { uri: String },
    #[error("a logger takes output and errors alike: `{stderr}` cannot be beside it")]
    BesideLogger { stderr: String },
    #[error("cannot start the logger `{path}`")]
    Logger { path: PathBuf, source: io::Error },
    #[error("the logger `{path}` does not work: {why}")]
    LoggerNotReady { path: PathBuf, why: &'static str },
    /// In Docker's words.
    #[error("failed to initialize logging driver: {address}")]
    Collector { address: String, source: io::Error },
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    User(#[from] runtime::user::Error),
}

impl Error {
    /// What kind of failure it is. `NotFound` and `PermissionDenied` of a creation or a start are the program's alone: the
    /// engine makes exit statuses 127 and 126 of them.
    pub(crate) fn code(&self) -> Code {
        match self {
            Error::NotBound
            | Error::Orphaned
            | Error::NotStarted
            | Error::AlreadyStarted
            | Error::NotEnded
            | Error::NotPaused
            | Error::SandboxIs(_)
            | Error::OtherContainer { .. } => Code::FailedPrecondition,
            Error::TaskExists { .. } | Error::ExecExists { .. } | Error::SandboxExists { .. } => {
                Code::AlreadyExists
            }
            Error::NoTask | Error::NoSandbox | Error::NoExec { .. } | Error::Ended | Error::Deleted => {
                Code::NotFound
            }
            Error::TooManyExecs { .. } => Code::ResourceExhausted,
            Error::Missing { .. }
            | Error::Message { .. }
            | Error::Document { .. }
            | Error::UnknownOptions { .. }
            | Error::Signal { .. }
            | Error::NoPath { .. }
            | Error::BesideLogger { .. }
            | Error::TooLarge { .. } => Code::InvalidArgument,
            Error::Collector { .. } => Code::Internal,
            // As containerd's shims answer.
            Error::Scheme { .. } | Error::Logger { .. } | Error::LoggerNotReady { .. } => Code::Unknown,
            Error::Unsupported { .. } | Error::Option { .. } | Error::NoMethod { .. } => Code::Unimplemented,
            Error::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
                _ => Code::Internal,
            },
            Error::System { source, .. } => match *source {
                Errno::MFILE | Errno::NFILE | Errno::NOMEM => Code::ResourceExhausted,
                _ => Code::Internal,
            },
            Error::Runtime(source) => source.code(),
            Error::User(source) => source.code(),
        }
    }
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
