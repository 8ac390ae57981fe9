//! What can go wrong in the store.

use std::path::{Path, PathBuf};

use api::code::Code;
use oci::digest::Digest;

/// The result of the store's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the store at `{root}` is in use by process {pid}")]
    Locked { root: PathBuf, pid: String },
    #[error("the store cannot be at `{root}`: its path must be absolute UTF-8 without `:`, `,` and `\\`")]
    Root { root: PathBuf },
    #[error("{kind} `{name}` does not exist")]
    NotFound { kind: &'static str, name: String },
    #[error("{kind} `{name}` exists already")]
    AlreadyExists { kind: &'static str, name: String },
    #[error("snapshot `{name}` {why}")]
    Snapshot { name: String, why: &'static str },
    #[error("content is {actual}, expected {expected}")]
    WrongDigest { expected: Digest, actual: Digest },
    #[error("content is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("{why}")]
    Label { why: String },
    /// What a client asked for is not well formed.
    #[error("{why}")]
    Invalid { why: String },
    #[error("{what}")]
    Unsupported { what: String },
    /// An image is not deleted when it is another one by now.
    #[error("image {image:?} has target {actual}, not {expected}")]
    OtherTarget { image: String, actual: Digest, expected: String },
    #[error("namespace {name:?} must be empty, but it still has {}", left.join(", "))]
    NotEmpty { name: String, left: Vec<String> },
    /// A request named a lease that is not there.
    #[error("lease `{id}` does not exist")]
    NoLease { id: String },
    /// What a client of containerd's services is told.
    #[error(transparent)]
    Snapshots(crate::space::snapshots::Refusal),
    /// The ref, with its namespace, has a writer since that time.
    #[error("`{reference}` is being written")]
    Writing { reference: String, since_ns: i64 },
    #[error("`{reference}` has {actual} bytes, expected {expected}")]
    CommitSize { reference: String, actual: u64, expected: u64 },
    #[error("`{reference}` is {actual}, expected {expected}")]
    CommitDigest { reference: String, actual: Digest, expected: Digest },
    #[error("{what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("database")]
    Database(#[source] rusqlite::Error),
    #[error("the database's disk is full")]
    DatabaseFull,
    #[error("a record in the database is damaged: {what}")]
    Record { what: String },
    #[error("the database has version {version}, which this program does not know")]
    Newer { version: usize },
    #[error("the transaction was undone, because the disk failed another part of it")]
    TransactionLost,
    #[error("a write was asked for inside of a write, which would wait for itself")]
    WriteInWrite,
    #[error("the database's writer has ended")]
    WriterGone,
}

impl Error {
    pub(crate) fn file(what: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::File { what, path: path.to_owned(), source }
    }

    /// The same, said of the part of a whole.
    pub fn within(self, whole: &str) -> Error {
        match self {
            Error::Invalid { why } => Error::Invalid { why: format!("{whole}: {why}") },
            Error::Label { why } => Error::Label { why: format!("{whole}: {why}") },
            error => error,
        }
    }

    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::NotFound { .. } | Error::NoLease { .. } | Error::OtherTarget { .. } => Code::NotFound,
            Error::Snapshots(refusal) => refusal.code(),
            Error::AlreadyExists { .. } => Code::AlreadyExists,
            Error::Locked { .. } | Error::Newer { .. } | Error::Snapshot { .. } | Error::NotEmpty { .. } => {
                Code::FailedPrecondition
            }
            Error::CommitSize { .. } | Error::CommitDigest { .. } => Code::FailedPrecondition,
            Error::Writing { .. } => Code::Unavailable,
            Error::WrongDigest { .. } | Error::TooLarge { .. } => Code::InvalidArgument,
            Error::Root { .. } | Error::Label { .. } => Code::InvalidArgument,
            Error::Invalid { .. } => Code::InvalidArgument,
            Error::Unsupported { .. } => Code::Unimplemented,
            Error::DatabaseFull => Code::ResourceExhausted,
            Error::File { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Code::ResourceExhausted
                }
                _ => Code::Internal,
            },
            Error::Record { .. } => Code::DataLoss,
            Error::TransactionLost => Code::Aborted,
            Error::Database(_) | Error::WriteInWrite | Error::WriterGone => Code::Internal,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Error {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Error::DatabaseFull,
            // The WAL's index is a file as well.
            _ if is_index_full(&source) => Error::DatabaseFull,
            _ => Error::Database(source),
        }
    }
}

fn is_index_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}
