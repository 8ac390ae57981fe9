//! Why the daemon does not start, or stops.

use std::path::PathBuf;

/// What went wrong, in words for the person who started the daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{path}:{line}:{column}: {message}")]
    Config { path: PathBuf, line: usize, column: usize, message: String },
    #[error("read `{path}`")]
    ReadConfig { path: PathBuf, source: std::io::Error },
    #[error("another daemon (process {pid}) uses the state directory `{state}`")]
    Locked { state: PathBuf, pid: String },
    #[error("a socket at `{path}` is answered by another process")]
    SocketInUse { path: PathBuf },
    #[error("the group `{0}` that shall own the socket does not exist")]
    NoSuchGroup(String),
    #[error("{path}: {message}")]
    ContainerdConfig { path: PathBuf, message: String },
    #[error("{0}")]
    NotBuilt(String),
    #[error("the plugin `{0}` is required, and is not there")]
    RequiredPlugin(String),
    #[error("{what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("listen at {address}")]
    Address { address: std::net::SocketAddr, source: std::io::Error },
    #[error("{what}")]
    System { what: &'static str, source: std::io::Error },
    #[error("move the daemon into the cgroup `{path}`")]
    Cgroup { path: String, source: runtime::cgroup::Error },
    #[error("open the engine")]
    Engine(#[source] engine::Error),
}

impl Error {
    /// The text with everything that caused it, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text.push_str(": ");
            text.push_str(&source.to_string());
            cause = source.source();
        }
        text
    }

    /// What to do about it, where we know.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Config { .. } => Some("`corten config default` prints every key with its meaning"),
            Error::ContainerdConfig { .. } => Some("`corten containerd config default` prints every key"),
            Error::NotBuilt(_) => Some("leave it out, or set it to its default"),
            Error::RequiredPlugin(_) => Some("`ctr plugins ls` lists those that there are"),
            Error::Locked { .. } => Some("stop that daemon, or give this one its own `--root` and `--state`"),
            Error::SocketInUse { .. } => {
                Some("choose another `docker_socket` or `containerd_socket` in the configuration")
            }
            _ => None,
        }
    }
}
