//! What can go wrong between the daemon and `corten-net`.

use std::io;
use std::path::PathBuf;

use api::code::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{program}` cannot be started")]
    Start { program: PathBuf, source: io::Error },
    #[error("it does not answer at `{path}`")]
    Connect { path: PathBuf, source: io::Error },
    #[error("it cannot be talked to")]
    Talk(#[source] io::Error),
    #[error("its answer makes no sense")]
    Answer(#[source] serde_json::Error),
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("a container has more ports and names than fit into a message of {max} bytes")]
    TooLarge { max: usize },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::TooLarge { .. } => Code::InvalidArgument,
            Error::Refused(_) | Error::Answer(_) => Code::Internal,
            Error::Start { .. } | Error::Connect { .. } | Error::Talk(_) => Code::Unavailable,
        }
    }
}
