//! Why a registry did not give what was asked, host by host, and what to do about it.

use std::fmt;
use std::time::Duration;

use api::code::Code;

/// Why one host did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("it cannot be reached: {0}")]
    Connect(String),
    #[error("it did not answer in {0:?}")]
    Timeout(Duration),
    #[error("its certificate is not trusted: {0}")]
    Certificate(String),
    #[error("the proxy {proxy} refuses: {message}")]
    Proxy { proxy: String, message: String },
    #[error("unauthorized: {}", if *.with_credentials { "the credentials are wrong" } else { "authentication required" })]
    Unauthorized { with_credentials: bool },
    #[error("denied{}", detail(.0))]
    Denied(String),
    #[error("not found{}", detail(.0))]
    NotFound(String),
    #[error("too many requests: the rate limit of this registry is reached{}", later(.retry_after))]
    RateLimited { retry_after: Option<Duration> },
    #[error("it answered {status}{}", detail(.message))]
    Status { status: u16, message: String },
    #[error("what it sent is not what was asked for: {0}")]
    Content(String),
    #[error("its configuration is wrong: {0}")]
    Configuration(String),
}

/// A host that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub host: String,
    pub failure: Failure,
}

/// What all hosts said, in the order in which they were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    /// The name that was asked for, as people write it.
    pub name: String,
    pub attempts: Vec<Attempt>,
}

impl Failure {
    /// Whether the same question may be answered a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failure::Connect(_) | Failure::Timeout(_) | Failure::RateLimited { .. } => true,
            Failure::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    fn code(&self) -> Code {
        match self {
            Failure::Connect(_) | Failure::Proxy { .. } | Failure::Certificate(_) => Code::Unavailable,
            Failure::Timeout(_) => Code::DeadlineExceeded,
            Failure::Unauthorized { .. } => Code::Unauthenticated,
            Failure::Denied(_) => Code::PermissionDenied,
            Failure::NotFound(_) => Code::NotFound,
            Failure::RateLimited { .. } => Code::ResourceExhausted,
            Failure::Status { .. } | Failure::Content(_) => Code::Unknown,
            Failure::Configuration(_) => Code::FailedPrecondition,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::Connect(_) => {
                Some("is the name right, and does this machine need a proxy (HTTPS_PROXY)?")
            }
            Failure::Timeout(_) => Some("try again, or use a mirror (hosts.toml)"),
            Failure::Certificate(_) => Some(
                "put the registry's authority into certs.d/<host>/ca.crt, or list the host in `insecure`",
            ),
            Failure::Proxy { .. } => Some("check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"),
            Failure::Unauthorized { with_credentials: true } => Some("log in again"),
            Failure::Unauthorized { with_credentials: false } | Failure::Denied(_) => {
                Some("log in with `corten login`, if the image exists")
            }
            Failure::RateLimited { .. } => Some("wait, log in, or use a mirror (hosts.toml)"),
            _ => None,
        }
    }
}

impl RegistryError {
    /// The failure that tells most: of the last host, which is the registry itself.
    fn last(&self) -> Option<&Failure> {
        self.attempts.last().map(|attempt| &attempt.failure)
    }

    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        self.last().map_or(Code::Unavailable, Failure::code)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        self.last().and_then(Failure::hint)
    }

    /// Whether every host says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.attempts.iter().all(|attempt| matches!(attempt.failure, Failure::NotFound(_)))
    }
}

impl std::error::Error for RegistryError {}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for (number, Attempt { host, failure }) in self.attempts.iter().enumerate() {
            write!(f, "{} {host}: {failure}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

fn detail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn later(retry_after: &Option<Duration>) -> String {
    retry_after.map_or(String::new(), |wait| format!("; it says to try again in {} seconds", wait.as_secs()))
}
