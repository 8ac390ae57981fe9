//! What can go wrong with networks.

use api::code::Code;
use rustix::io::Errno;

/// Why something about a network failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused; `what` completes "cannot …" and names what it was about.
    #[error("cannot {what}")]
    Kernel {
        what: String,
        #[source]
        source: Errno,
    },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Kernel { source: Errno::PERM | Errno::ACCESS, .. } => Code::PermissionDenied,
            Error::Kernel { .. } => Code::Internal,
        }
    }
}
