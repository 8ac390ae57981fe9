//! What daemon and worker say to each other: JSON in packets of a local socket.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use api::code::Code;
use linux::socket::MAX_DESCRIPTORS;
use oci::digest::Digest;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::compare::Comparison;
use super::files::FilesRequest;
use crate::apply::{ApplyError, EntryProblem, Whiteouts};
use crate::compression::{Compression, ExpansionLimits};
use crate::files::FileStat;
use crate::tar::{Problem, TarError};

/// Largest packet: a request names the mounts of a container, and texts of errors are cut to fit. The kernel's default
/// buffer of a socket has room for it.
const MAX_PACKET: usize = 128 << 10;
/// Longest text of a refusal.
const MAX_TEXT: usize = 4 << 10;
/// Most layers beneath one: overlayfs takes 500.
pub(super) const MAX_LOWERS: usize = 500;

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Pack what makes one tree into another.
    Compare,
    /// Pack a container's own layer.
    Diff,
    /// Take the plausible members of an image archive apart into a directory.
    Extract,
    /// Read or write files of a container.
    Files,
    /// Apply a layer below a directory.
    Unpack,
}

impl Task {
    pub(super) fn name(self) -> &'static str {
        match self {
            Task::Compare => "compare",
            Task::Diff => "diff",
            Task::Extract => "extract",
            Task::Files => "files",
            Task::Unpack => "unpack",
        }
    }
}

/// Bounds of one task, beside the fixed ones of the tar reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) expansion: ExpansionLimits,
    /// Refuse archives without an end mark: nothing else tells that a stream without a digest is complete.
    pub(crate) needs_end_mark: bool,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packing {
    /// Also what the starts of a container make to mount upon.
    pub(crate) is_whole: bool,
    /// Nothing is younger, in seconds since 1970.
    pub(crate) epoch_s: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) task: Task,
    pub(super) limits: Limits,
    pub(super) lower_count: usize,
    #[serde(default)]
    pub(super) whiteouts: Whiteouts,
    #[serde(default)]
    pub(super) packing: Packing,
    /// What to compare, if the task is [`Task::Compare`].
    #[serde(default)]
    pub(super) comparison: Option<Comparison>,
    /// What to do, if the task is [`Task::Files`].
    #[serde(default)]
    pub(super) files: Option<FilesRequest>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Message {
    Progress(Progress),
    /// Comes before a container's files are read.
    Found(FileStat),
    Done(Outcome),
    Refused(Refusal),
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) input_bytes: u64,
    pub(crate) entries: u64,
}

/// What a finished task found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) compression: Compression,
    /// Of the input as it came. `None` where nobody needs it.
    pub(crate) input_digest: Option<Digest>,
    /// Of the input after decompression.
    pub(crate) diff_id: Option<Digest>,
    pub(crate) input_bytes: u64,
    /// Bytes of the input after decompression.
    #[serde(default)]
    pub(crate) output_bytes: u64,
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) size_bytes: u64,
    /// Extended attributes that the file system does not support.
    pub(crate) skipped_xattrs: u64,
}

/// Why a task was not done: the kind of failure as `google.rpc.Code`, and one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    code: i32,
    text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Refusal {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        Code::from_grpc(self.code)
    }

    /// Whether what was named is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Code::NotFound
    }

    pub(super) fn new(code: Code, error: &(dyn std::error::Error + 'static)) -> Refusal {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        let end = text.floor_char_boundary(MAX_TEXT);
        text.truncate(end);
        Refusal { code: code.grpc(), text }
    }

    /// The worker could not give up its rights, or what it works on.
    pub(super) fn confinement(error: impl Into<confinement::Error>) -> Refusal {
        Refusal::new(Code::Internal, &error.into())
    }
}

pub(super) mod confinement {
    //! Why a worker does not begin.

    /// The worker refuses to read hostile bytes with more rights than it needs.
    #[derive(Debug, thiserror::Error)]
    pub(in crate::worker) enum Error {
        #[error("the worker cannot confine itself")]
        System(#[from] rustix::io::Errno),
        #[error("the worker cannot confine itself with landlock")]
        Landlock(#[from] landlock::RulesetError),
        #[error("the worker cannot confine itself with seccomp")]
        Seccomp(#[from] runtime::seccomp::Error),
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Refusal {
        let code = match &error {
            ApplyError::Target(errno) => errno_code(*errno),
            ApplyError::Tar(error) => tar_code(error),
            ApplyError::Entry { problem, .. } => match problem {
                EntryProblem::System { source, .. } => errno_code(*source),
                EntryProblem::Write(source) => io_code(source),
                EntryProblem::Tar(error) => tar_code(error),
                _ => Code::InvalidArgument,
            },
        };
        Refusal::new(code, &error)
    }
}

impl From<TarError> for Refusal {
    fn from(error: TarError) -> Refusal {
        Refusal::new(tar_code(&error), &error)
    }
}

impl From<super::extract::ExtractError> for Refusal {
    fn from(error: super::extract::ExtractError) -> Refusal {
        use super::extract::ExtractError;
        let code = match &error {
            ExtractError::Read(error) => io_code(error),
            ExtractError::Tar(error) => tar_code(error),
            ExtractError::Write { source, .. } => io_code(source),
            _ => Code::InvalidArgument,
        };
        Refusal::new(code, &error)
    }
}

impl From<super::unpack::UnpackError> for Refusal {
    fn from(error: super::unpack::UnpackError) -> Refusal {
        use super::unpack::UnpackError;
        match error {
            UnpackError::Apply(error) => error.into(),
            UnpackError::Read(ref source) => Refusal::new(io_code(source), &error),
            UnpackError::NoEndMark => Refusal::new(Code::InvalidArgument, &error),
        }
    }
}

fn tar_code(error: &TarError) -> Code {
    match &error.problem {
        Problem::Read(source) => io_code(source),
        _ => Code::InvalidArgument,
    }
}

/// Errors of a decompressor have no number of the kernel: they are the input's fault.
pub(super) fn io_code(error: &io::Error) -> Code {
    Errno::from_io_error(error).map_or(Code::InvalidArgument, errno_code)
}

pub(super) fn errno_code(errno: Errno) -> Code {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOMEM => Code::ResourceExhausted,
        // What the kernel says to names and values that only an archive can have.
        Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL | Errno::RANGE | Errno::FBIG => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// Sends a request with its descriptors.
pub(super) fn send_request(
    socket: BorrowedFd<'_>,
    request: &Request,
    descriptors: [BorrowedFd<'_>; 2],
    lowers: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let json = serde_json::to_vec(request).expect("a request has only text keys");
    if json.len() > MAX_PACKET {
        return Err(Errno::MSGSIZE);
    }
    linux::socket::send(socket, &json, &descriptors)?;
    for lowers in lowers.chunks(MAX_DESCRIPTORS) {
        linux::socket::send(socket, b"l", lowers)?;
    }
    Ok(())
}

/// The request, and the input, the directory and the lower directories.
pub(super) fn receive_request(socket: BorrowedFd<'_>) -> io::Result<(Request, Vec<OwnedFd>)> {
    let mut packet = vec![0; MAX_PACKET];
    let (length, mut descriptors) = linux::socket::receive(socket, &mut packet)?;
    let request: Request = serde_json::from_slice(&packet[..length])?;
    while descriptors.len() < request.lower_count.min(MAX_LOWERS) + 2 {
        let (length, more) = linux::socket::receive(socket, &mut packet)?;
        if length == 0 || more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        descriptors.extend(more);
    }
    Ok((request, descriptors))
}

pub(super) fn send_message(socket: BorrowedFd<'_>, message: &Message) -> rustix::io::Result<()> {
    let json = serde_json::to_vec(message).expect("a message has only text keys");
    linux::socket::send(socket, &json, &[]).map(drop)
}

/// The worker's next message; nothing when it is gone.
pub(super) fn receive_message(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut packet = vec![0; MAX_PACKET];
    loop {
        return match linux::socket::receive(socket, &mut packet) {
            Ok((0, _)) => Ok(None),
            Ok((length, _)) => Ok(Some(serde_json::from_slice(&packet[..length])?)),
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => Ok(None),
            Err(errno) => Err(errno.into()),
        };
    }
}
