//! The log of a container: Docker's json-file format, with rotation.
//!
//! One line per entry: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`. An entry is a line of
//! output, or 16 KiB of a longer one without the line break. Times strictly increase within a container, whatever the clock
//! does and however often it is started, so that a reader can go on after the last time it has seen. `log.json` is written,
//! `log.json.1` is the one before, and so on; a reader that holds a file open when it is rotated reads it to its end.
//!
//! Entries are collected and written together, before anything that depends on them is reported. The stated policy for a
//! full disk: what cannot be written is dropped whole (never half a line), counted, and told in the shim's own log; a
//! container is not stopped by its log.

mod escape;
mod time;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use escape::escape;
pub(crate) use time::now_ns;

/// The longest piece of a line in one entry, as in Docker.
pub(crate) const ENTRY_MAX: usize = 16 << 10;

/// The more files, the slower a rotation; nobody keeps as many.
const FILES_MAX: u32 = 1000;

/// What is written at once, and what memory is kept between writes.
const PENDING_MAX: usize = 64 << 10;

/// What an entry ends with after its time.
const ENTRY_END: &[u8] = b"\"}\n";

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

/// The log, open.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// What the file holds; `pending` comes on top.
    size: u64,
    max_size_bytes: u64,
    max_files: u32,
    last_ns: i64,
    pending: Vec<u8>,
    dropped: u64,
}

impl Log {
    /// Opens or continues the log at `path`. `max_size_bytes` 0: never rotated; `max_files` 0: one.
    pub(crate) fn open(path: &Path, max_size_bytes: u64, max_files: u32) -> io::Result<Log> {
        let mut file = append(path)?;
        let mut size = file.metadata()?.len();
        if size > 0 && !ends_with_line(&file, size)? {
            // A shim was killed while it wrote: what follows must not become part of that line.
            file.write_all(b"\n")?;
            size += 1;
        }
        let last_ns = match last_time(&file, size)? {
            Some(last_ns) => Some(last_ns),
            // It has just been rotated.
            None => match File::open(numbered(path, 1)) {
                Ok(previous) => last_time(&previous, previous.metadata()?.len())?,
                Err(_) => None,
            },
        };
        Ok(Log {
            path: path.to_owned(),
            file,
            size,
            max_size_bytes,
            max_files: max_files.clamp(1, FILES_MAX),
            last_ns: last_ns.unwrap_or_default(),
            pending: Vec::new(),
            dropped: 0,
        })
    }

    /// Adds an entry; [`Log::flush`] writes it.
    pub(crate) fn add(&mut self, source: Source, text: &[u8]) {
        self.last_ns = (self.last_ns + 1).max(now_ns());
        let begin = self.pending.len();
        self.pending.extend_from_slice(b"{\"log\":\"");
        escape(&mut self.pending, text);
        let end = format!("\",\"stream\":\"{}\",\"time\":\"{}", source.name(), time::format(self.last_ns));
        self.pending.extend_from_slice(end.as_bytes());
        self.pending.extend_from_slice(ENTRY_END);
        let after = self.size + self.pending.len() as u64;
        if self.max_size_bytes > 0 && after > self.max_size_bytes && self.size + begin as u64 > 0 {
            let entry = self.pending.split_off(begin);
            self.flush();
            if let Err(error) = self.rotate() {
                eprintln!("the log `{}` could not be rotated: {error}", self.path.display());
            }
            self.pending = entry;
        }
        if self.pending.len() >= PENDING_MAX {
            self.flush();
        }
    }

    /// Writes what was added.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.file.write_all(&self.pending) {
            Ok(()) => {
                self.size += self.pending.len() as u64;
                if self.dropped > 0 {
                    let path = self.path.display();
                    eprintln!("the log `{path}` is written again; {} entries were dropped", self.dropped);
                    self.dropped = 0;
                }
            }
            Err(error) => self.drop_pending(&error),
        }
        self.pending.clear();
        // What a burst needed is not kept for ever.
        self.pending.shrink_to(ENTRY_MAX);
    }

    fn drop_pending(&mut self, error: &io::Error) {
        if self.dropped == 0 {
            eprintln!("the log `{}` cannot be written: {error}", self.path.display());
        }
        // Each entry is one line.
        self.dropped += self.pending.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Half of it may have been written.
        if let Err(error) = self.file.set_len(self.size) {
            eprintln!("the log `{}` may have a damaged line: {error}", self.path.display());
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.max_files.saturating_sub(1)).rev() {
            ignore_missing(fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)))?;
        }
        if self.max_files > 1 {
            ignore_missing(fs::rename(&self.path, numbered(&self.path, 1)))?;
        } else {
            // A new file, not a truncated one: whoever reads the old one reads it to its end.
            ignore_missing(fs::remove_file(&self.path))?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// `log.json.1` and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn ends_with_line(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// The time of the last entry, if the file ends with one.
fn last_time(file: &File, size: u64) -> io::Result<Option<i64>> {
    let mut tail = [0; time::LENGTH + ENTRY_END.len()];
    let Some(begin) = size.checked_sub(tail.len() as u64) else { return Ok(None) };
    file.read_exact_at(&mut tail, begin)?;
    Ok(time::parse(&tail[..time::LENGTH]))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn rotation_keeps_every_entry_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = Log::open(&path, 1000, 100).unwrap();
        for number in 0..200 {
            log.add(Source::Stdout, format!("line {number}\n").as_bytes());
            if number % 7 == 0 {
                log.flush();
            }
        }
        log.flush();
        let mut text = String::new();
        for number in (1..100).rev() {
            text += &fs::read_to_string(numbered(&path, number)).unwrap_or_default();
        }
        text += &fs::read_to_string(&path).unwrap();
        let entries = entries(&text);
        assert_eq!(entries.len(), 200);
        for (number, pair) in entries.windows(2).enumerate() {
            assert_eq!(pair[0]["log"], format!("line {number}\n"));
            assert!(pair[0]["time"].as_str() < pair[1]["time"].as_str(), "times increase");
        }
        for file in fs::read_dir(folder.path()).unwrap() {
            assert!(file.unwrap().metadata().unwrap().len() <= 1000);
        }
    }

    #[test]
    fn no_more_files_are_kept_than_asked() {
        for keep in [1, 2, 3] {
            let folder = tempfile::tempdir().unwrap();
            let mut log = Log::open(&folder.path().join("log.json"), 200, keep).unwrap();
            for _ in 0..50 {
                log.add(Source::Stderr, b"text\n");
            }
            log.flush();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), keep as usize);
        }
    }

    #[test]
    fn times_go_on_where_the_last_run_ended_even_if_the_clock_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let future = "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2200-01-01T00:00:00.000000005Z\"}\n";
        for rotated in [false, true] {
            fs::write(&path, future).unwrap();
            if rotated {
                fs::rename(&path, numbered(&path, 1)).unwrap();
            }
            let mut log = Log::open(&path, 0, 2).unwrap();
            log.add(Source::Stdout, b"y\n");
            log.flush();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(entries(&text).last().unwrap()["time"], "2200-01-01T00:00:00.000000006Z");
        }
    }

    #[test]
    fn a_torn_line_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        fs::write(&path, "{\"log\":\"half").unwrap();
        let mut log = Log::open(&path, 0, 1).unwrap();
        log.add(Source::Stdout, b"whole\n");
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        let (torn, rest) = text.split_once('\n').unwrap();
        assert_eq!(torn, "{\"log\":\"half");
        assert_eq!(entries(rest)[0]["log"], "whole\n");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_dropped_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&folder.path().join("log.json"), 0, 1).unwrap();
        log.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        log.add(Source::Stdout, b"one\n");
        log.add(Source::Stdout, b"two\n");
        log.flush();
        assert_eq!((log.dropped, log.size), (2, 0));
        log.file = append(&log.path).unwrap();
        log.add(Source::Stdout, b"three\n");
        log.flush();
        assert_eq!(log.dropped, 0);
        assert_eq!(entries(&fs::read_to_string(&log.path).unwrap())[0]["log"], "three\n");
    }
}
