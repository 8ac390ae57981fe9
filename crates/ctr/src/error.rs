//! What a command fails with.

use std::fmt;
use std::io;

use crate::cni::CniError;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Error {
    /// The daemon refused: its words, as containerd's own client shows them.
    Status {
        what: Option<String>,
        status: Box<tonic::Status>,
        hint: Option<String>,
    },
    /// No daemon answers.
    Connect {
        address: String,
        source: tonic::transport::Error,
    },
    /// The words of the command are wrong. The text is `ctr`'s.
    Usage(String),
    /// The same, and what to do about it.
    Advised {
        text: String,
        hint: &'static str,
    },
    /// What is not built, and what to do instead.
    Refused {
        what: String,
        reason: &'static str,
    },
    /// A file, pipe or terminal on this side.
    File {
        what: String,
        source: io::Error,
    },
    /// What the daemon holds is not what it is said to be.
    Document {
        what: String,
        reason: String,
    },
    /// What the hosts of a registry said to this side.
    Registry(image::registry::RegistryError),
    /// A container and its network.
    Network(CniError),
    Runtime(io::Error),
    Output(io::Error),
    Deadline,
    /// The command has told already what went wrong.
    Told,
}

impl Error {
    /// The same failure, with what was being done before it.
    pub(crate) fn while_doing(self, doing: String) -> Error {
        match self {
            Error::Status { what: None, status, hint } => Error::Status { what: Some(doing), status, hint },
            other => other,
        }
    }

    pub(crate) fn is(&self, code: tonic::Code) -> bool {
        matches!(self, Error::Status { status, .. } if status.code() == code)
    }

    /// The one line behind `hint:`, where there is one.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Error::Status { hint, .. } => hint.clone(),
            Error::Registry(source) => source.hint().map(str::to_owned),
            Error::Network(source) => source.hint(),
            Error::Advised { hint, .. } => Some((*hint).to_owned()),
            Error::Connect { .. } => {
                Some("start one with 'corten daemon', or name another address with --address".to_owned())
            }
            _ => None,
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Error {
        Error::Status { what: None, status: Box::new(status), hint: None }
    }
}

impl From<image::registry::RegistryError> for Error {
    fn from(source: image::registry::RegistryError) -> Error {
        Error::Registry(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Status { what: None, status, .. } => f.write_str(&words(status)),
            Error::Status { what: Some(what), status, .. } => write!(f, "{what}: {}", words(status)),
            Error::Connect { address, source } => {
                let mut cause: &dyn std::error::Error = source;
                while let Some(below) = cause.source() {
                    cause = below;
                }
                write!(f, "failed to connect to {address}: {cause}")
            }
            Error::Usage(text) | Error::Advised { text, .. } => f.write_str(text),
            Error::Refused { what, reason } => write!(f, "{what} is not supported: {reason}"),
            Error::File { what, source } => write!(f, "{what}: {source}"),
            Error::Document { what, reason } => write!(f, "{what}: {reason}"),
            Error::Registry(source) => source.fmt(f),
            Error::Network(source) => source.fmt(f),
            Error::Runtime(source) => write!(f, "start: {source}"),
            Error::Output(source) => write!(f, "write to stdout: {source}"),
            Error::Deadline => f.write_str("context deadline exceeded"),
            Error::Told => Ok(()),
        }
    }
}

/// A status as containerd's client shows it: its message, which ends in the words of its code.
pub(crate) fn words(status: &tonic::Status) -> String {
    let class = match status.code() {
        tonic::Code::NotFound => "not found",
        tonic::Code::AlreadyExists => "already exists",
        tonic::Code::InvalidArgument => "invalid argument",
        tonic::Code::FailedPrecondition => "failed precondition",
        tonic::Code::Unavailable => "unavailable",
        tonic::Code::Unimplemented => "not implemented",
        tonic::Code::Cancelled => "context canceled",
        tonic::Code::DeadlineExceeded => "context deadline exceeded",
        _ => return status.message().to_owned(),
    };
    let message = status.message();
    match message.is_empty() || message == class {
        true => class.to_owned(),
        false if message.ends_with(&format!(": {class}")) || message.ends_with(&format!(" {class}")) => {
            message.to_owned()
        }
        false => format!("{message}: {class}"),
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use tonic::Status;

    #[test]
    fn a_status_ends_once_in_the_words_of_its_code() {
        assert_eq!(words(&Status::not_found("image \"a\": not found")), "image \"a\": not found");
        assert_eq!(
            words(&Status::not_found("snapshot a does not exist")),
            "snapshot a does not exist: not found"
        );
        assert_eq!(words(&Status::already_exists("")), "already exists");
        assert_eq!(words(&Status::unknown("it broke")), "it broke");
    }
}
