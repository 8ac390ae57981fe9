//! The log of a container: Docker's json-file format, with rotation.
//!
//! One line per entry: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`. An entry is a line of
//! output, or 16 KiB of a longer one without the line break. Times strictly increase within a container, so that a reader can
//! go on after the last time it has seen. `log.json` is written, `log.json.1` is the one before, and so on; a reader that
//! holds a file open when it is rotated reads it to its end.
//!
//! Entries are collected and written together, before anything that depends on them is reported. When the disk is full
//! entries are dropped, counted, and told in the shim's own log: a container is not stopped by its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

/// The longest piece of a line in one entry, as in Docker.
pub const ENTRY_MAX: usize = 16 << 10;

/// The more files, the slower a rotation; nobody keeps as many.
const FILES_MAX: u32 = 1000;

/// Where the output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

impl Source {
    /// Its number in Docker's frames.
    pub fn number(self) -> u8 {
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
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max_size_bytes: u64,
    max_files: u32,
    last_ns: i64,
    pending: Vec<u8>,
    dropped: u64,
}

impl Log {
    /// Opens or continues the log at `path`. `max_size_bytes` 0: never rotated.
    pub fn open(path: &Path, max_size_bytes: u64, max_files: u32) -> io::Result<Log> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Log {
            path: path.to_owned(),
            file,
            size,
            max_size_bytes,
            max_files: max_files.clamp(1, FILES_MAX),
            last_ns: 0,
            pending: Vec::new(),
            dropped: 0,
        })
    }

    /// Adds an entry; [`Log::flush`] writes it.
    pub fn add(&mut self, source: Source, text: &[u8]) {
        self.last_ns = (self.last_ns + 1).max(now_ns());
        let begin = self.pending.len();
        self.pending.extend_from_slice(b"{\"log\":\"");
        escape(&mut self.pending, text);
        let end = format!("\",\"stream\":\"{}\",\"time\":\"{}\"}}\n", source.name(), timestamp(self.last_ns));
        self.pending.extend_from_slice(end.as_bytes());
        let length = (self.pending.len() - begin) as u64;
        let is_full = self.max_size_bytes > 0 && self.size > 0 && self.size + length > self.max_size_bytes;
        if is_full {
            let entry = self.pending.split_off(begin);
            self.flush();
            if let Err(error) = self.rotate() {
                eprintln!("the log {} could not be rotated: {error}", self.path.display());
            }
            self.pending = entry;
        }
        self.size += length;
    }

    /// Writes what was added.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let entries = self.pending.iter().filter(|byte| **byte == b'\n').count() as u64;
        match self.file.write_all(&self.pending) {
            Ok(()) if self.dropped > 0 => {
                eprintln!(
                    "the log {} is written again, {} entries were dropped",
                    self.path.display(),
                    self.dropped
                );
                self.dropped = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.dropped == 0 {
                    eprintln!("the log {} cannot be written: {error}", self.path.display());
                }
                self.dropped += entries;
            }
        }
        self.pending.clear();
        // What a burst needed is not kept for ever.
        self.pending.shrink_to(ENTRY_MAX);
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.max_files.saturating_sub(1)).rev() {
            ignore_missing(fs::rename(numbered(number), numbered(number + 1)))?;
        }
        if self.max_files > 1 {
            ignore_missing(fs::rename(&self.path, numbered(1)))?;
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
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Nanoseconds since 1970.
pub fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// RFC 3339 with nine digits.
fn timestamp(time_ns: i64) -> String {
    let (seconds, nanoseconds) = (time_ns.div_euclid(1_000_000_000), time_ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// JSON's escapes as Go's encoder writes them; what is not UTF-8 becomes U+FFFD.
fn escape(output: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => output.extend_from_slice(b"\\\""),
                b'\\' => output.extend_from_slice(b"\\\\"),
                b'\n' => output.extend_from_slice(b"\\n"),
                b'\r' => output.extend_from_slice(b"\\r"),
                b'\t' => output.extend_from_slice(b"\\t"),
                0..=0x1f | b'<' | b'>' | b'&' | 0x7f => {
                    output.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                }
                _ => output.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            output.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_right_across_leap_years() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (time_ns, text) in cases {
            assert_eq!(timestamp(time_ns), text);
        }
    }

    #[test]
    fn every_byte_makes_valid_json() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = b"\"".to_vec();
        escape(&mut text, &all);
        text.push(b'"');
        let back: String = serde_json::from_slice(&text).unwrap();
        assert!(back.starts_with("\0\u{1}") && back.ends_with('\u{fffd}'));
        assert_eq!(back.chars().take(128).collect::<String>().into_bytes(), (0..128).collect::<Vec<u8>>());
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
            text += &fs::read_to_string(format!("{}.{number}", path.display())).unwrap_or_default();
        }
        text += &fs::read_to_string(&path).unwrap();
        let entries: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(entries.len(), 200);
        for (number, pair) in entries.windows(2).enumerate() {
            assert_eq!(pair[0]["log"], format!("line {number}\n"));
            assert!(pair[0]["time"].as_str() < pair[1]["time"].as_str(), "times increase");
        }
        assert!(fs::metadata(&path).unwrap().len() <= 1000);
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
}
