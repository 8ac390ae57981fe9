//! The files of one log: `log.json` is written, `log.json.1` (or, compressed, `log.json.1.gz`) is the one before, and so on.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::source::{CHUNK_BYTES, Source};
use super::{LogEntry, LogOptions, LogSource, file_error, source};
use crate::error::{Error, Result};

/// The shim cuts lines at 16 KiB; six bytes per byte is JSON's worst escape. More is damage.
const LINE_MAX_BYTES: usize = 256 << 10;
/// Most files that a reader looks for; the door allows no more to be kept.
const FILES_MAX: u32 = 10_000;
/// Files that are kept open, and on disk, for a reader that is slower than the log is rotated.
const KEPT_FOR_SLOW_MAX: usize = 64;
/// A log that is rotated faster than its files can be opened cannot be followed.
const ROTATION_RACES_MAX: u32 = 64;

/// Reads a log from where its options say.
#[derive(Debug)]
pub(super) struct Reader {
    directory: PathBuf,
    options: LogOptions,
    /// Oldest first; the first one is read.
    files: VecDeque<Source>,
    /// More are not kept open.
    files_max: usize,
    /// The beginning of a line whose end is not read yet.
    partial: Vec<u8>,
    is_finished: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl Reader {
    pub(super) fn open(directory: PathBuf, options: LogOptions) -> Result<Reader> {
        let mut reader = Reader {
            directory,
            options,
            files: VecDeque::new(),
            files_max: usize::MAX,
            partial: Vec::new(),
            is_finished: false,
        };
        reader.track()?;
        reader.files_max = reader.files.len() + KEPT_FOR_SLOW_MAX;
        if let Some(lines) = options.tail {
            reader.skip_to_tail(lines)?;
        }
        Ok(reader)
    }

    /// Nothing more is wanted, whatever comes.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The entries of the next chunk (perhaps none that is wanted); None at the end of what there is now.
    pub(super) fn read(&mut self) -> Result<Option<Vec<LogEntry>>> {
        if self.is_finished {
            return Ok(None);
        }
        loop {
            if self.files.len() < 2 {
                self.track()?;
            }
            // Before reading: a file that has a successor is never written again.
            let has_successor = self.files.len() > 1;
            let Some(source) = self.files.front_mut() else { return Ok(None) };
            let mut chunk = vec![0; CHUNK_BYTES];
            let failed = file_error("read the log in", &self.directory);
            let length = source.read(&mut chunk).map_err(failed)?;
            if length > 0 {
                return Ok(Some(self.split(&chunk[..length])));
            }
            if !has_successor {
                return Ok(None);
            }
            self.files.pop_front();
            // No line continues in another file; what is left is torn.
            self.partial.clear();
        }
    }

    /// Opens the files that came after the last one that is open.
    pub(super) fn track(&mut self) -> Result<()> {
        let failed = file_error("read the log in", &self.directory);
        for _ in 0..ROTATION_RACES_MAX {
            let newer = self.open_newer().map_err(&failed)?;
            // A newer file that came meanwhile may have been met among the older ones.
            let is_consistent = match newer.first() {
                Some(newest) => self.current_inode().map_err(&failed)? == Some(newest.inode),
                None => true,
            };
            if is_consistent {
                self.files.extend(newer.into_iter().rev());
                if self.files.len() > self.files_max {
                    return Err(Error::Conflict(format!(
                        "the reader of the log is too slow: {KEPT_FOR_SLOW_MAX} files were rotated away under it"
                    )));
                }
                return Ok(());
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    /// The files that came after the last one that is open, newest first.
    ///
    /// A rotation moves files to higher numbers, from the oldest on. Looking from the lowest number up, one may therefore
    /// meet a file twice, or one number that is just free, but never miss a file.
    fn open_newer(&self) -> io::Result<Vec<Source>> {
        let last = self.files.back();
        let mut newer: Vec<Source> = Vec::new();
        let mut was_missing = false;
        for number in 0..FILES_MAX {
            let found = match Source::open(&self.directory.join(file_name(number))) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound && was_missing => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    was_missing = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            was_missing = false;
            if last.map_or(Ok(false), |last| last.is_same(&found))? {
                break;
            }
            let mut is_known = false;
            for known in &newer {
                is_known = is_known || known.is_same(&found)?;
            }
            if !is_known {
                newer.push(found);
            }
        }
        Ok(newer)
    }

    /// Of the newest file.
    fn current_inode(&self) -> io::Result<Option<u64>> {
        for number in 0..2 {
            match Source::open(&self.directory.join(file_name(number))) {
                Ok(source) => return Ok(Some(source.inode)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn split(&mut self, chunk: &[u8]) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            let entry = if self.partial.is_empty() {
                parse(line)
            } else {
                self.partial.extend_from_slice(line);
                parse(&std::mem::take(&mut self.partial))
            };
            let Some(entry) = entry else { continue };
            if self.options.until_ns.is_some_and(|until_ns| entry.time_ns > until_ns) {
                self.is_finished = true;
                return entries;
            }
            if self.is_wanted(&entry) {
                entries.push(entry);
            }
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > LINE_MAX_BYTES {
            self.partial = Vec::new();
        }
        entries
    }

    fn is_wanted(&self, entry: &LogEntry) -> bool {
        let is_stream = match entry.stream {
            LogSource::Stdout => self.options.stdout,
            LogSource::Stderr => self.options.stderr,
        };
        is_stream && self.options.since_ns.is_none_or(|since_ns| entry.time_ns >= since_ns)
    }

    /// Drops files and moves the offset so that `lines` lines are left.
    fn skip_to_tail(&mut self, lines: u64) -> Result<()> {
        let failed = file_error("read the log in", &self.directory);
        let mut wanted = lines;
        let mut keep = 0;
        for source in self.files.iter_mut().rev() {
            wanted -= source.skip_to_tail(wanted).map_err(&failed)?;
            keep += 1;
            if wanted == 0 {
                break;
            }
        }
        self.files.drain(..self.files.len() - keep);
        Ok(())
    }
}

fn file_name(number: u32) -> String {
    if number == 0 { "log.json".into() } else { format!("log.json.{number}") }
}

/// A line of the file; None for one that a crash left torn.
fn parse(line: &[u8]) -> Option<LogEntry> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    Some(LogEntry {
        stream: source(&line.stream)?,
        time_ns: i64::try_from(line.time.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()?,
        bytes: line.log.into_owned().into_bytes(),
        attributes: line.attrs.into_iter().collect(),
    })
}

/// Reads everything that is there now.
#[cfg(test)]
pub(super) fn read_all(directory: PathBuf, options: LogOptions) -> Result<Vec<LogEntry>> {
    let mut reader = Reader::open(directory, options)?;
    let mut entries = Vec::new();
    while let Some(batch) = reader.read()? {
        entries.extend(batch);
    }
    Ok(entries)
}
