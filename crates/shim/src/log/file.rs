//! Docker's json-file format, with rotation.
//!
//! One line per entry: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}`, and between the last
//! two `"attrs":{…}` if entries are marked. `log.json` is written, `log.json.1` is the one before, and so on; with compression
//! they become `log.json.1.gz` … after a while. A reader that holds a file open when it is rotated reads it to its end.
//!
//! Entries are collected and written together, before anything that depends on them is reported.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use api::shim::LogOptions;

use super::compress::Compression;
use super::escape::escape;
use super::{ENTRY_MAX, Entry, time};

/// The more files, the slower a rotation; nobody keeps as many.
const FILES_MAX: u32 = 1000;

/// What is written at once, and what memory is kept between writes.
const PENDING_MAX: usize = 64 << 10;

/// What an entry ends with after its time.
const ENTRY_END: &[u8] = b"\"}\n";

/// The file, open.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// What the file holds; `pending` comes on top.
    size: u64,
    max_size_bytes: u64,
    max_files: u32,
    last_ns: i64,
    /// What each entry is marked with, as it is written: nothing, or `,"attrs":{…}`.
    marks: Vec<u8>,
    compresses: bool,
    compression: Option<Compression>,
    pending: Vec<u8>,
    dropped: u64,
}

impl LogFile {
    /// Opens or continues the file that the options name.
    pub(super) fn open(options: &LogOptions) -> io::Result<LogFile> {
        let path = Path::new(&options.path);
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
        Ok(LogFile {
            path: path.to_owned(),
            file,
            size,
            max_size_bytes: options.max_size_bytes,
            max_files: options.max_files.clamp(1, FILES_MAX),
            last_ns: last_ns.unwrap_or_default(),
            marks: marks(options),
            compresses: options.compress,
            // One that a killed shim has left half done begins again.
            compression: if options.compress { Compression::begin(&numbered(path, 1)) } else { None },
            pending: Vec::new(),
            dropped: 0,
        })
    }

    /// The time of the last entry of the run before; 0: there was none.
    pub(super) fn last_ns(&self) -> i64 {
        self.last_ns
    }

    /// Adds an entry; [`LogFile::flush`] writes it.
    pub(super) fn add(&mut self, entry: Entry<'_>) {
        let begin = self.pending.len();
        self.pending.extend_from_slice(b"{\"log\":\"");
        escape(&mut self.pending, entry.text);
        self.pending.extend_from_slice(b"\",\"stream\":\"");
        self.pending.extend_from_slice(entry.source.name().as_bytes());
        self.pending.push(b'"');
        self.pending.extend_from_slice(&self.marks);
        self.pending.extend_from_slice(b",\"time\":\"");
        self.pending.extend_from_slice(time::format(entry.time_ns).as_bytes());
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
    pub(super) fn flush(&mut self) {
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

    /// Whether a file is being compressed.
    pub(super) fn is_compressing(&self) -> bool {
        self.compression.is_some()
    }

    /// Compresses another piece, so small that nobody notices.
    pub(super) fn compress_a_little(&mut self) {
        let Some(compression) = self.compression.take() else { return };
        match compression.step() {
            Ok(unfinished) => self.compression = unfinished,
            Err(error) => {
                eprintln!("the log `{}.1` stays uncompressed: {error}", self.path.display());
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Its file is about to get another name.
        while self.compression.is_some() {
            self.compress_a_little();
        }
        let oldest = self.max_files - 1;
        if oldest > 0 {
            // Whether it was compressed or not: a log may have been continued with another option.
            ignore_missing(fs::remove_file(numbered(&self.path, oldest)))?;
            ignore_missing(fs::remove_file(compressed(&self.path, oldest)))?;
        }
        for number in (1..oldest).rev() {
            for name in [numbered, compressed] {
                ignore_missing(fs::rename(name(&self.path, number), name(&self.path, number + 1)))?;
            }
        }
        if self.max_files > 1 {
            ignore_missing(fs::rename(&self.path, numbered(&self.path, 1)))?;
        } else {
            // A new file, not a truncated one: whoever reads the old one reads it to its end.
            ignore_missing(fs::remove_file(&self.path))?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        if self.compresses {
            self.compression = Compression::begin(&numbered(&self.path, 1));
        }
        Ok(())
    }
}

impl Drop for LogFile {
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

/// `log.json.1.gz` and so on.
fn compressed(path: &Path, number: u32) -> PathBuf {
    numbered(path, number).with_added_extension("gz")
}

/// What the options mark each entry with, as it is written.
fn marks(options: &LogOptions) -> Vec<u8> {
    let mut marks = Vec::new();
    for attribute in &options.attributes {
        marks.extend_from_slice(if marks.is_empty() { b",\"attrs\":{\"" } else { b",\"" });
        escape(&mut marks, attribute.name.as_bytes());
        marks.extend_from_slice(b"\":\"");
        escape(&mut marks, attribute.value.as_bytes());
        marks.push(b'"');
    }
    if !marks.is_empty() {
        marks.push(b'}');
    }
    marks
}

fn ends_with_line(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// The time of the last entry, if the file ends with one.
pub(super) fn last_time(file: &File, size: u64) -> io::Result<Option<i64>> {
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
    use super::super::{Cut, Source};
    use super::*;

    impl LogFile {
        fn line(&mut self, text: &str) {
            let time_ns = (self.last_ns + 1).max(time::now_ns());
            self.last_ns = time_ns;
            self.add(Entry { source: Source::Stdout, text: text.as_bytes(), cut: Cut::Whole, time_ns });
        }
    }

    fn open(path: &Path, max_size_bytes: u64, max_files: u32) -> LogFile {
        let path = path.display().to_string();
        LogFile::open(&LogOptions { path, max_size_bytes, max_files, ..LogOptions::default() }).unwrap()
    }

    fn entries(text: &str) -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn rotation_keeps_every_entry_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = open(&path, 1000, 100);
        for number in 0..200 {
            log.line(&format!("line {number}\n"));
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
            let mut log = open(&folder.path().join("log.json"), 200, keep);
            for _ in 0..50 {
                log.line("text\n");
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
            let mut log = open(&path, 0, 2);
            log.line("y\n");
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
        let mut log = open(&path, 0, 1);
        log.line("whole\n");
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        let (torn, rest) = text.split_once('\n').unwrap();
        assert_eq!(torn, "{\"log\":\"half");
        assert_eq!(entries(rest)[0]["log"], "whole\n");
    }

    fn compressing(path: &Path, max_size_bytes: u64, max_files: u32) -> LogFile {
        let path = path.display().to_string();
        let options = LogOptions { path, max_size_bytes, max_files, compress: true, ..LogOptions::default() };
        LogFile::open(&options).unwrap()
    }

    fn inflated(path: &Path) -> String {
        let mut text = String::new();
        let file = File::open(path).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        text
    }

    #[test]
    fn rotated_files_are_compressed_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = compressing(&path, 1000, 100);
        for number in 0..200 {
            log.line(&format!("line {number}\n"));
            // Rotation comes while a compression is under way, and after it.
            if number % 10 == 0 {
                log.flush();
                log.compress_a_little();
            }
        }
        while log.is_compressing() {
            log.compress_a_little();
        }
        drop(log);
        let mut text = String::new();
        for number in (1..100).rev().filter(|number| compressed(&path, *number).exists()) {
            text += &inflated(&compressed(&path, number));
        }
        assert!(!numbered(&path, 1).exists() && compressed(&path, 5).exists());
        text += &fs::read_to_string(&path).unwrap();
        let logs: Vec<_> = entries(&text).iter().map(|entry| entry["log"].clone()).collect();
        let expected: Vec<_> = (0..200).map(|number| format!("line {number}\n")).collect();
        assert_eq!(logs, expected);
    }

    #[test]
    fn no_more_compressed_files_are_kept_than_asked_and_no_half_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = compressing(&path, 200, 3);
        for _ in 0..50 {
            log.line("text\n");
        }
        log.flush();
        // It ends in the middle of a compression.
        assert!(log.is_compressing());
        drop(log);
        let names = |folder: &Path| {
            let mut names: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(folder.path()), ["log.json", "log.json.1", "log.json.2.gz"]);
        // The next run takes it up.
        let mut log = compressing(&path, 200, 3);
        while log.is_compressing() {
            log.compress_a_little();
        }
        drop(log);
        assert_eq!(names(folder.path()), ["log.json", "log.json.1.gz", "log.json.2.gz"]);
    }

    #[test]
    fn marks_are_between_the_stream_and_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json").display().to_string();
        let field = |name: &str, value: &str| api::shim::LogField { name: name.into(), value: value.into() };
        let attributes = vec![field("a", "\"<"), field("tag", "t")];
        let mut log = LogFile::open(&LogOptions { path, attributes, ..LogOptions::default() }).unwrap();
        log.line("x\n");
        log.flush();
        let text = fs::read_to_string(&log.path).unwrap();
        let head = r#"{"log":"x\n","stream":"stdout","attrs":{"a":"\"\u003c","tag":"t"},"time":""#;
        assert!(text.starts_with(head), "{text}");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_dropped_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(&folder.path().join("log.json"), 0, 1);
        log.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        log.line("one\n");
        log.line("two\n");
        log.flush();
        assert_eq!((log.dropped, log.size), (2, 0));
        log.file = append(&log.path).unwrap();
        log.line("three\n");
        log.flush();
        assert_eq!(log.dropped, 0);
        assert_eq!(entries(&fs::read_to_string(&log.path).unwrap())[0]["log"], "three\n");
    }
}
