//! The log of a container: a file that can be read back, and perhaps a collector on the network or the host.
//!
//! An entry is a line of output, or 16 KiB of a longer one without the line break. Times strictly increase within a
//! container, whatever the clock does and however often it is started, so that a reader can go on after the last time
//! it has seen.
//!
//! Stated policies: what a full disk does not take, and what a collector that is down has no room for, is dropped whole,
//! counted, and told in the shim's own log. A container is never stopped by its log.

mod compress;
mod escape;
mod file;
mod remote;
mod time;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::shim::LogOptions;
use rustix::event::PollFlags;

use crate::error::{Error, Result};
use file::LogFile;
use remote::Remote;
pub(crate) use time::{format, now_ns};

/// The longest piece of a line in one entry, as in Docker.
pub(crate) const ENTRY_MAX: usize = 16 << 10;

/// How long a collector may take what is left when its container is gone.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where the output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// Its number in Docker's frames.
    pub(crate) fn number(self) -> u8 {
        match self {
            Source::Stdout => 1,
            Source::Stderr => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        }
    }
}

/// How an entry ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// With its line, or with the output.
    Whole,
    /// Its line goes on in the next entry of the same source.
    GoesOn,
}

/// A piece of output with its time.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    source: Source,
    text: &'a [u8],
    cut: Cut,
    time_ns: i64,
}

/// The log, open.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<LogFile>,
    remote: Option<Remote>,
    last_ns: i64,
    /// The container is gone: from then on nobody waits for the collector any more.
    over_at: Option<Instant>,
}

impl Log {
    /// Opens or continues what the options name; `None`: nothing is logged.
    pub(crate) fn open(options: &LogOptions) -> Result<Option<Log>> {
        if options.disabled || (options.path.is_empty() && options.remote.is_none()) {
            return Ok(None);
        }
        let failed =
            |source| Error::File { what: "open the log", path: PathBuf::from(&options.path), source };
        let file = (!options.path.is_empty()).then(|| LogFile::open(options)).transpose().map_err(failed)?;
        let remote = options.remote.as_ref().map(Remote::open).transpose()?;
        let last_ns = file.as_ref().map_or(0, LogFile::last_ns);
        Ok(Some(Log { file, remote, last_ns, over_at: None }))
    }

    /// Adds an entry; [`Log::flush`] writes it.
    pub(crate) fn add(&mut self, source: Source, text: &[u8], cut: Cut) {
        self.last_ns = (self.last_ns + 1).max(now_ns());
        let entry = Entry { source, text, cut, time_ns: self.last_ns };
        if let Some(file) = &mut self.file {
            file.add(entry);
        }
        if let Some(remote) = &mut self.remote {
            remote.add(entry);
        }
    }

    /// Writes what was added into the file, and to the collector what it takes at once.
    pub(crate) fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            file.flush();
        }
        if let Some(remote) = &mut self.remote {
            remote.write();
        }
    }

    /// Whether it takes more output; when it does not, the process is slowed down.
    pub(crate) fn has_room(&self) -> bool {
        self.remote.as_ref().is_none_or(Remote::has_room)
    }

    /// The container is gone. The file is closed; the collector may still take what waits for it.
    pub(crate) fn end(&mut self) {
        self.file = None;
        self.over_at = Some(Instant::now() + FAREWELL);
    }

    /// Whether it still has something to do although its container is gone.
    pub(crate) fn is_busy(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_busy)
    }

    /// What to wait for on the collector's socket.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.remote.as_ref().and_then(Remote::interest)
    }

    /// When something is to be done even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let compression = self.file.as_ref().filter(|file| file.is_compressing()).map(|_| Instant::now());
        let remote = self.remote.as_ref().and_then(Remote::deadline);
        let over = self.over_at.filter(|_| self.is_busy());
        [compression, remote, over].into_iter().flatten().min()
    }

    /// Something happened on the collector's socket.
    pub(crate) fn hear(&mut self, ready: PollFlags) {
        if let Some(remote) = &mut self.remote {
            remote.hear(ready);
        }
    }

    /// Does what time has made due: a step of compression, another try to connect.
    pub(crate) fn drive(&mut self, now: Instant) {
        if let Some(file) = &mut self.file {
            file.compress_a_little();
        }
        if self.over_at.is_some_and(|over_at| over_at <= now) {
            self.remote = None;
        }
        if let Some(remote) = &mut self.remote {
            remote.drive(now);
        }
    }
}
