//! What the door answers when a request is not served: a status and Docker's words.

use api::code::Code;
use hyper::StatusCode;

use crate::call::{BODY_TIMEOUT, MAX_JSON_BYTES};

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", .0.chain())]
    Engine(#[from] engine::Error),
    #[error("page not found")]
    NoSuchPage,
    #[error("{message}")]
    Invalid { message: String },
    /// Docker has it, Corten does not have it yet.
    #[error("{what} is not there yet{}", hint(.advice))]
    NotThereYet { what: String, advice: &'static str },
    #[error(
        "client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version",
        min = crate::call::MIN_VERSION
    )]
    VersionTooOld(String),
    #[error("client version {0} is too new. Maximum supported API version is {max}", max = crate::call::MAX_VERSION)]
    VersionTooNew(String),
    #[error("request body larger than {MAX_JSON_BYTES} bytes")]
    BodyTooLarge,
    #[error("the request body did not come within {} seconds", BODY_TIMEOUT.as_secs())]
    BodyTimeout,
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Unauthorized(String),
    /// What registries said, one after the other.
    #[error("{0}")]
    Registry(String),
    #[error(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
    )]
    NoSwarm,
    #[error("{0}")]
    Unavailable(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
    #[error("the daemon failed while it served this request; its log has the details")]
    Panicked,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid { message: message.into() }
    }

    pub(crate) fn not_there_yet(what: impl Into<String>) -> Error {
        Error::NotThereYet { what: what.into(), advice: "" }
    }

    /// The status that dockerd answers with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Error::Engine(error) => engine_status(error),
            Error::NoSuchPage | Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid { .. } | Error::VersionTooOld(_) | Error::VersionTooNew(_) => {
                StatusCode::BAD_REQUEST
            }
            Error::NotThereYet { .. } => StatusCode::NOT_IMPLEMENTED,
            Error::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Error::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::NoSwarm | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Registry(_) | Error::System { .. } | Error::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn engine_status(error: &engine::Error) -> StatusCode {
    // dockerd calls a command that cannot be executed a bad request, whatever the kernel's reason.
    if error.exit_code().is_some_and(|code| code == 126 || code == 127) {
        return StatusCode::BAD_REQUEST;
    }
    // A policy of the kernel (EPERM) is no matter of what is asked: 403 would say that.
    let is_rule = matches!(error, engine::Error::Forbidden(_));
    if error.code() == Code::PermissionDenied && !is_rule {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn hint(advice: &str) -> String {
    if advice.is_empty() { String::new() } else { format!(": {advice}") }
}
