//! Where text goes: data to stdout, all else to stderr.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::Error;
use crate::frames::Source;

/// Writes data.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

/// Writes one line of data.
pub(crate) fn print_line(line: &str) -> Result<(), Error> {
    print(&format!("{line}\n"))
}

/// Writes a line about what goes on. Nobody can be told when that fails.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes output of a container on the stream it came from, at once and as it is.
///
/// Past the standard library's line buffer, which would split a piece in two.
pub(crate) fn pass_on(source: Source, bytes: &[u8]) -> Result<(), Error> {
    match source {
        Source::Stdout => write_all(io::stdout(), bytes),
        Source::Stderr => write_all(io::stderr(), bytes),
    }
    .map_err(|error| Error::Output(error.into()))
}

fn write_all(stream: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // A pipe or terminal that somebody else made non-blocking.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One line on a terminal's stderr that is written over, for what takes long.
#[derive(Debug)]
pub(crate) struct StatusLine {
    is_shown: bool,
}

impl StatusLine {
    pub(crate) fn new() -> StatusLine {
        StatusLine { is_shown: false }
    }

    /// Shows `text` instead of what was there; nothing without a terminal.
    pub(crate) fn show(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{text}");
            self.is_shown = true;
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}
