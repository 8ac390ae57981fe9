//! What can go wrong with control groups, told by controller, file and value.

use std::io;
use std::path::PathBuf;

use api::code::Code;
use rustix::io::Errno;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make cgroup `{}`{}", path.display(), hint(help))]
    Create { path: PathBuf, help: Option<&'static str>, source: Errno },
    #[error("cannot read which cgroup hierarchies are mounted")]
    Detect { source: io::Error },
    #[error("cannot {step} the device filter of cgroup `{}`", path.display())]
    DeviceFilter { step: &'static str, path: PathBuf, source: Errno },
    #[error("device rule `{rule}` is not valid: {reason}")]
    DeviceRule { rule: String, reason: &'static str },
    #[error("cgroup `{}` was not frozen within {seconds} s", path.display())]
    FreezeTimeout { path: PathBuf, seconds: u64 },
    #[error("{field} of {value} is not possible, hint: {hint}")]
    InvalidLimit { field: &'static str, value: String, hint: &'static str },
    #[error("cgroup path `{path}` is not valid: {reason}")]
    InvalidPath { path: String, reason: &'static str },
    #[error("{processes} processes in cgroup `{}` survived being killed for {seconds} s", path.display())]
    KillTimeout { path: PathBuf, processes: usize, seconds: u64 },
    #[error(
        "cannot set `{file}` to `{value}`: this machine has no cgroup controller `{controller}`, hint: it may be disabled on the kernel's command line or not mounted"
    )]
    MissingController { controller: String, file: String, value: String },
    #[error(
        "cannot set `{file}` to `{value}`: the cgroup controller `{controller}` of this kernel has no such file"
    )]
    MissingFile { controller: String, file: String, value: String },
    #[error("no cgroup hierarchy is mounted, hint: mount cgroup2 on /sys/fs/cgroup")]
    NoHierarchy,
    #[error("no cgroup `{}`", path.display())]
    NotFound { path: PathBuf },
    #[error("cgroup `{}` is in use", path.display())]
    Occupied { path: PathBuf },
    #[error("cannot open cgroup file `{}`", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("`{}` reads `{content}`, which is not as the kernel documents it", path.display())]
    Parse { path: PathBuf, content: String },
    #[error("cgroup `{}` holds more than {limit} processes or groups", path.display())]
    Populous { path: PathBuf, limit: usize },
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot remove cgroup `{}`{}", path.display(), hint(help))]
    Remove { path: PathBuf, help: Option<&'static str>, source: Errno },
    #[error("cannot send signal {signal} to process {process}")]
    Signal { signal: i32, process: u32, source: Errno },
    #[error("{what} is not supported yet")]
    Unsupported { what: &'static str },
    #[error("cgroup controller `{controller}`: cannot write `{value}` to `{}`{}", path.display(), hint(help))]
    Write { controller: String, path: PathBuf, value: String, help: Option<&'static str>, source: Errno },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::DeviceRule { .. } | Error::InvalidLimit { .. } | Error::InvalidPath { .. } => {
                Code::InvalidArgument
            }
            Error::MissingController { .. } | Error::MissingFile { .. } | Error::NoHierarchy => {
                Code::FailedPrecondition
            }
            Error::NotFound { .. } => Code::NotFound,
            Error::Occupied { .. } => Code::AlreadyExists,
            Error::Unsupported { .. } => Code::Unimplemented,
            Error::Populous { .. } => Code::ResourceExhausted,
            Error::FreezeTimeout { .. } | Error::KillTimeout { .. } => Code::DeadlineExceeded,
            Error::Create { source, .. }
            | Error::DeviceFilter { source, .. }
            | Error::Open { source, .. }
            | Error::Remove { source, .. }
            | Error::Signal { source, .. } => of_errno(*source),
            Error::Write { source: Errno::INVAL | Errno::RANGE | Errno::OVERFLOW, .. } => {
                Code::InvalidArgument
            }
            Error::Write { source, .. } => of_errno(*source),
            Error::Detect { .. } | Error::Parse { .. } | Error::Read { .. } => Code::Internal,
        }
    }
}

fn of_errno(errno: Errno) -> Code {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Code::PermissionDenied,
        Errno::BUSY | Errno::NOTEMPTY => Code::FailedPrecondition,
        Errno::NOENT | Errno::NODEV => Code::NotFound,
        Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}

fn hint(help: &Option<&'static str>) -> String {
    help.map(|help| format!(", hint: {help}")).unwrap_or_default()
}
