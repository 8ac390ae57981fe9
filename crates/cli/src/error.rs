//! What a command can fail with: one line for the user, an exit code, and perhaps what to do about it.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use crate::flags::Usage;
use crate::frames::FrameError;
use crate::template::FormatError;
use api::docker::moment::TimeError;

/// Docker's exit code for "the tool itself failed, not the container".
pub(crate) const TOOL_FAILED: u8 = 125;
/// The command of the container is there but cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command of the container is not there.
pub(crate) const NOT_FOUND: u8 = 127;
/// What a shell reports for a program that SIGPIPE ended.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// Any failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unable to parse docker host `{0}`: it is unix://PATH, tcp://HOST:PORT or ssh://USER@HOST")]
    Address(String),
    #[error("the daemon's answer is not understood")]
    Answer(#[source] serde_json::Error),
    #[error("the daemon's answer is longer than {0} bytes")]
    AnswerTooLong(usize),
    #[error("container ID file found, make sure the other container isn't running or delete {}", .0.display())]
    CidFileExists(PathBuf),
    #[error("conflicting options: {0}")]
    Conflict(&'static str),
    #[error("cannot connect to the daemon at {address}")]
    Connect { address: String, source: io::Error },
    #[error("Error response from daemon: {message}")]
    Daemon { status: u16, message: String },
    #[error("{} {}", action, path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{message}")]
    Flag { message: String, usage: Usage },
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("reading input")]
    Input(#[source] io::Error),
    #[error("ended by signal {0}")]
    Interrupted(i32),
    #[error("starting the daemon: {0}")]
    Launch(String),
    #[error("the connection to the daemon broke")]
    Lost(#[source] io::Error),
    #[error("{message}")]
    Misuse { message: String, usage: Usage },
    #[error("Error response from daemon: {0}")]
    NoSuchImage(String),
    #[error("context \"{0}\": context not found")]
    NoSuchContext(String),
    #[error("unknown help topic: {0}")]
    NoSuchTopic(String),
    #[error("no such object: {0}")]
    NoSuchObject(String),
    #[error("the input device is not a TTY")]
    NotATerminal,
    #[error("you cannot attach to a {state} container, {remedy} it first")]
    NotAttachable { state: &'static str, remedy: &'static str },
    #[error("{what} is not there: {reason}")]
    NotThere { what: String, reason: &'static str, hint: &'static str },
    #[error("{0} is not there yet")]
    NotYet(String),
    #[error("writing output")]
    Output(#[source] io::Error),
    #[error("no daemon answers, and only root may start one: rootless is not there yet")]
    Rootless,
    #[error("the connection to the daemon could not be prepared")]
    Runtime(#[source] io::Error),
    #[error("requested load from terminal, give a file with -i or redirect standard input")]
    TerminalInput,
    #[error("cowardly refusing to save to a terminal. Use the -o flag or redirect")]
    TerminalOutput,
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error("the connection to the daemon broke")]
    Transport(#[source] hyper::Error),
    #[error("copying the files")]
    Unpack(#[source] image::local::LocalError),
    #[error("unknown command: {0}")]
    UnknownCommand(String),
    #[error("{0}")]
    Value(String),
    /// Another failure, with the exit code that its command gives it.
    #[error("{error}")]
    With { code: u8, error: Box<Error> },
}

impl Error {
    /// This failure, ending the program with `code` (unless it was misuse, which has its own).
    pub(crate) fn exiting(self, code: u8) -> Error {
        match self {
            Error::Interrupted(_)
            | Error::Misuse { .. }
            | Error::NotATerminal
            | Error::Output(_)
            | Error::With { .. } => self,
            error => Error::With { code, error: Box::new(error) },
        }
    }

    /// What the program ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Flag { .. } => TOOL_FAILED,
            Error::Format(error) => error.exit_code(),
            Error::Interrupted(number) => 128 + u8::try_from(*number).unwrap_or(0),
            Error::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            Error::With { code, .. } => *code,
            _ => 1,
        }
    }

    /// Whether there is nothing to tell, or nobody left to read it.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Error::Interrupted(_) => true,
            Error::Output(source) => source.kind() == io::ErrorKind::BrokenPipe,
            Error::With { error, .. } => error.is_silent(),
            _ => false,
        }
    }

    /// Whether the peer went away in the middle, as against answering with an error.
    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(self, Error::Lost(_) | Error::Transport(_) | Error::Connect { .. } | Error::Launch(_))
    }

    /// Whether the daemon does not know what was named.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Daemon { status: 404, .. })
    }

    /// The whole chain on one line.
    pub(crate) fn line(&self) -> String {
        if let Error::With { error, .. } = self {
            return error.line();
        }
        let mut line = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            line = line + ": " + &error.to_string();
            source = error.source();
        }
        // A daemon's message may have several lines; here it has one.
        without_numbers(&line.trim_end().replace('\n', " "))
    }

    /// What the user may do about it.
    pub(crate) fn hint(&self, program: &str) -> Option<String> {
        match self {
            Error::With { error, .. } => error.hint(program),
            Error::NoSuchImage(_) => Some(format!(
                "`{program} pull` brings an image from a registry, `{program} load` and `{program} import` from a file, \
                 `{program} images` lists them"
            )),
            Error::Daemon { status: 409, message } if message.contains("is already in use by container") => {
                Some(format!("`{program} rm NAME` or `{program} rename NAME OTHER` makes the name free"))
            }
            Error::Connect { address, source } => match source.kind() {
                io::ErrorKind::PermissionDenied if address.starts_with("unix://") => {
                    Some("only root may use the daemon's socket".into())
                }
                io::ErrorKind::InvalidData => Some(
                    "--tlscacert names who signed the daemon's certificate, --tlscert and --tlskey are one's own".into(),
                ),
                _ if address.starts_with("ssh://") => {
                    Some(format!("does `ssh` log in there, and is there a `docker` or a `{program}` of that name?"))
                }
                _ => None,
            },
            Error::Lost(_) | Error::Transport(_) => Some(format!(
                "containers run on without the daemon; `{program} attach` and `{program} logs` find them"
            )),
            Error::Flag { usage, .. } | Error::Misuse { usage, .. } => Some(usage.to_string()),
            Error::Format(error) => error.hint().map(str::to_owned),
            Error::NotThere { hint, .. } => Some((*hint).to_owned()).filter(|hint| !hint.is_empty()),
            Error::NoSuchContext(_) => Some(
                "there is one context, `default`; another daemon is reached with --host or DOCKER_HOST"
                    .into(),
            ),
            Error::UnknownCommand(path) => {
                let above = path.rsplit_once(' ').map_or(path.as_str(), |(above, _)| above);
                Some(format!("Run '{above} --help' for more information"))
            }
            _ => None,
        }
    }

    /// Misuse is explained by the usage, in Docker's layout; everything else by a hint.
    pub(crate) fn is_misuse(&self) -> bool {
        match self {
            Error::With { error, .. } => error.is_misuse(),
            error => matches!(error, Error::Flag { .. } | Error::Misuse { .. } | Error::UnknownCommand(_)),
        }
    }
}

/// Without the ` (os error 2)` that Rust adds to what the words before it say already.
fn without_numbers(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(" (os error ") {
        out += before;
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::Error;
    use std::io;

    #[test]
    fn the_chain_is_printed_once_and_on_one_line() {
        let error = Error::Connect {
            address: "unix:///a".into(),
            source: io::Error::new(io::ErrorKind::NotFound, "nothing\nthere"),
        };
        assert_eq!(error.line(), "cannot connect to the daemon at unix:///a: nothing there");
        let error = error.exiting(125);
        let missing =
            Error::File { action: "open", path: "/a".into(), source: io::Error::from_raw_os_error(2) };
        assert_eq!(missing.line(), "open /a: No such file or directory");
        assert_eq!(error.line(), "cannot connect to the daemon at unix:///a: nothing there");
        assert_eq!(error.exit_code(), 125);
        assert_eq!(error.exiting(1).exit_code(), 125, "the first code given holds");
    }

    #[test]
    fn a_reader_that_went_away_is_not_told_so() {
        let error = Error::Output(io::ErrorKind::BrokenPipe.into());
        assert!(error.is_silent());
        assert_eq!(error.exit_code(), 141);
        assert!(error.exiting(125).is_silent());
    }
}
