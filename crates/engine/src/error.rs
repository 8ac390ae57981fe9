//! What can go wrong in the engine, in words for the person who asked.

use api::code::Code;

use crate::containers::spec::Protocol;
use crate::networks::PortHolder;

/// Exit code of Docker's clients for "could not be executed".
pub(crate) const EXIT_NOT_EXECUTABLE: i32 = 126;
/// Exit code of Docker's clients for "not found".
pub(crate) const EXIT_NOT_FOUND: i32 = 127;
/// Exit code of Docker's clients when a process could not be started for another reason than its program.
pub(crate) const EXIT_NOT_STARTED: i32 = 128;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// See [`crate::guests`].
    #[error(
        "container {0} was made by a client of containerd's API, and only such a client can do this with it, hint: use `ctr` or `nerdctl`"
    )]
    MadeByClient(String),
    #[error("multiple containers found with provided prefix: {0}")]
    AmbiguousContainer(String),
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile { path: String, container: String },
    /// What the worker says of a container's files.
    #[error(transparent)]
    Files(image::WorkerError),
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(
        "No such image: {image} in this namespace, but the namespace `{namespace}` has it: use `-n {namespace}`"
    )]
    InOtherNamespace { image: String, namespace: String },
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    #[error("namespace {0:?}: not found")]
    NoSuchNamespace(String),
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    #[error("endpoint {0} not found")]
    NoSuchEndpoint(String),
    #[error("network with name {0} already exists")]
    NetworkExists(String),
    /// Something about networks that is not allowed, whoever asks.
    #[error("{0}")]
    Forbidden(String),
    #[error(transparent)]
    Network(#[from] network::Error),
    /// In Docker's words, and who has it.
    #[error("Bind for {address} failed: port is already allocated{}", by(.holder.as_ref()))]
    PortTaken { protocol: Protocol, address: std::net::SocketAddr, holder: Option<PortHolder> },
    #[error("cannot publish a port at {address}")]
    Port { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the process that answers for names and holds ports")]
    Resident(#[from] resident::Error),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse { name: String, id: String },
    #[error("{0}")]
    InvalidArgument(String),
    /// The state of the container does not allow it.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Unsupported(String),
    /// The container, or the exec, was not started. `exit_code` is what Docker's clients exit with.
    #[error("{message}")]
    NotStarted { message: String, exit_code: i32, code: Code },
    #[error("the shim is gone")]
    ShimLost,
    #[error("{what}: {message}")]
    Shim { what: &'static str, message: String, code: Code },
    /// What a shim of containerd's clients says, word for word.
    #[error("{message}")]
    Task { message: String, code: Code },
    #[error("{what} `{path}`")]
    File { what: &'static str, path: std::path::PathBuf, source: std::io::Error },
    /// In Docker's words.
    #[error("error while mounting volume '{}': failed to mount local volume: {what}", path.display())]
    MountVolume { path: std::path::PathBuf, what: String, source: std::io::Error },
    #[error("the store")]
    Store(#[from] store::Error),
    #[error("{what}")]
    System { what: &'static str, source: std::io::Error },
}

/// The result of the engine's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Files(error) => error.code(),
            Error::NoSuchContainer(_)
            | Error::NoSuchFile { .. }
            | Error::InOtherNamespace { .. }
            | Error::NoSuchExec(_)
            | Error::NoSuchVolume(_)
            | Error::NoSuchNamespace(_)
            | Error::NoSuchNetwork(_)
            | Error::NoSuchEndpoint(_) => Code::NotFound,
            Error::NameInUse { .. } | Error::NetworkExists(_) => Code::AlreadyExists,
            Error::Forbidden(_) => Code::PermissionDenied,
            Error::Network(error) => error.code(),
            Error::Resident(error) => error.code(),
            // What Docker answers, too.
            Error::PortTaken { .. } => Code::Internal,
            Error::Image(error) => error.code(),
            Error::Store(error) => error.code(),
            Error::Unsupported(_) => Code::Unimplemented,
            Error::Conflict(_) | Error::MadeByClient(_) => Code::FailedPrecondition,
            Error::InvalidArgument(_) | Error::AmbiguousContainer(_) => Code::InvalidArgument,
            Error::ShimLost => Code::Unavailable,
            Error::NotStarted { code, .. } | Error::Shim { code, .. } | Error::Task { code, .. } => *code,
            Error::File { source, .. }
            | Error::System { source, .. }
            | Error::Port { source, .. }
            | Error::MountVolume { source, .. } => io_code(source),
        }
    }

    /// The exit code that Docker's `run`, `start` and `exec` end with when a process could not be started.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Error::NotStarted { exit_code, .. } => Some(*exit_code),
            _ => None,
        }
    }

    /// The text with everything that caused it, on one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// The text of an error with everything that caused it, on one line.
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

fn io_code(error: &std::io::Error) -> Code {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}

fn by(holder: Option<&PortHolder>) -> String {
    holder.map_or(String::new(), |holder| format!(" by {holder}"))
}
