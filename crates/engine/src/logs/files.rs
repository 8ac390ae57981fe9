//! The files of one log: `log.json` is written, `log.json.1` is the one before, and so on.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use serde::Deserialize;

use super::{LogEntry, LogOptions, LogSource, file_error, source};
use crate::error::Result;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The shim cuts lines at 16 KiB; six bytes per byte is JSON's worst escape. More is damage.
const LINE_MAX_BYTES: usize = 256 << 10;
/// Most files that a reader looks for; the door allows no more to be kept.
const FILES_MAX: u32 = 10_000;
/// A log that is rotated faster than its files can be opened cannot be followed.
const ROTATION_RACES_MAX: u32 = 64;

/// Reads a log from where its options say.
#[derive(Debug)]
pub(super) struct Reader {
    directory: PathBuf,
    options: LogOptions,
    /// Oldest first; the first one is read.
    files: VecDeque<Source>,
    /// The beginning of a line whose end is not read yet.
    partial: Vec<u8>,
    is_finished: bool,
}

#[derive(Debug)]
struct Source {
    file: File,
    inode: u64,
    offset: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    time: std::borrow::Cow<'a, str>,
}

impl Reader {
    pub(super) fn open(directory: PathBuf, options: LogOptions) -> Result<Reader> {
        let mut reader =
            Reader { directory, options, files: VecDeque::new(), partial: Vec::new(), is_finished: false };
        reader.track()?;
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
            let length = source.file.read_at(&mut chunk, source.offset).map_err(failed)?;
            if length > 0 {
                source.offset += length as u64;
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
        let last = self.files.back().map(|source| source.inode);
        let mut newer: Vec<Source> = Vec::new();
        let mut was_missing = false;
        for number in 0..FILES_MAX {
            let file = match File::open(self.directory.join(file_name(number))) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && was_missing => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    was_missing = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            was_missing = false;
            let inode = file.metadata()?.ino();
            if last == Some(inode) {
                break;
            }
            if !newer.iter().any(|source| source.inode == inode) {
                newer.push(Source { file, inode, offset: 0 });
            }
        }
        Ok(newer)
    }

    /// Of the newest file.
    fn current_inode(&self) -> io::Result<Option<u64>> {
        for number in 0..2 {
            match std::fs::metadata(self.directory.join(file_name(number))) {
                Ok(metadata) => return Ok(Some(metadata.ino())),
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
            let length = source.file.metadata().map_err(&failed)?.len();
            let (offset, found) = tail_offset(&source.file, length, wanted).map_err(&failed)?;
            source.offset = offset;
            keep += 1;
            wanted -= found;
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

/// Where the last `wanted` lines of a file begin, and how many there are.
fn tail_offset(file: &File, length: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut end = length;
    let mut found = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        let size = usize::try_from(end - start).expect("at most a chunk");
        file.read_exact_at(&mut chunk[..size], start)?;
        for at in (0..size).rev() {
            if chunk[at] != b'\n' {
                continue;
            }
            // The newline before the wanted lines; the one at the very end closes the last of them.
            if found == wanted {
                return Ok((start + at as u64 + 1, found));
            }
            found += 1;
        }
        end = start;
    }
    Ok((0, found))
}

/// A line of the file; None for one that a crash left torn.
fn parse(line: &[u8]) -> Option<LogEntry> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    Some(LogEntry {
        stream: source(&line.stream)?,
        time_ns: i64::try_from(line.time.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()?,
        bytes: line.log.into_owned().into_bytes(),
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
