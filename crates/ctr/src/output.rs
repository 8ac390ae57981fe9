//! What goes to stdout, and what is told on stderr.

use std::io::{self, Write};

use crate::error::Error;
use crate::text;

/// Writes `text` to stdout.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    bytes(text.as_bytes())
}

/// Writes `text` and an end of line to stdout.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes `data` to stdout at once.
pub(crate) fn bytes(data: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data).and_then(|()| stdout.flush()).map_err(Error::Output)
}

/// Tells on stderr what did not stop the command, in the form of containerd's log.
pub(crate) fn warn(level: &str, message: &str) {
    let now = text::now();
    tell(&format!("time=\"{now}\" level={level} msg={message:?}\n"));
}

/// Tells on stderr what failed and why, when the command goes on.
pub(crate) fn warn_of(message: &str, error: &Error) {
    let now = text::now();
    tell(&format!("time=\"{now}\" level=error msg={message:?} error={:?}\n", error.to_string()));
}

/// The exit code of `outcome`; a failure is told.
pub(crate) fn finish(outcome: Result<(), Error>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(Error::Told) => 1,
        Err(error) => {
            tell(&format!("ctr: {error}\n"));
            if let Some(hint) = error.hint() {
                tell(&format!("hint: {hint}\n"));
            }
            1
        }
    }
}

/// Writes to stderr; nobody can be told when that fails.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
