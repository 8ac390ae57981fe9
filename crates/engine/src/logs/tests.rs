//! Logs that grow and rotate while they are read.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::files::read_all;
use super::*;

const BOTH: LogOptions =
    LogOptions { stdout: true, stderr: true, follow: false, tail: None, since_ns: None, until_ns: None };

/// Writes as the shim does: `files` are kept, each of `lines` lines.
struct Writer {
    directory: PathBuf,
    lines: u32,
    files: u32,
    count: u32,
}

impl Writer {
    fn new(directory: &Path, lines: u32, files: u32) -> Writer {
        Writer { directory: directory.to_owned(), lines, files, count: 0 }
    }

    fn write(&mut self, number: u32) {
        let path = self.directory.join("log.json");
        if self.count == self.lines {
            for old in (1..self.files).rev() {
                let from = if old == 1 {
                    path.clone()
                } else {
                    self.directory.join(format!("log.json.{}", old - 1))
                };
                drop(fs::rename(from, self.directory.join(format!("log.json.{old}"))));
            }
            self.count = 0;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let stream = if number.is_multiple_of(2) { "stdout" } else { "stderr" };
        let line = format!(
            "{{\"log\":\"{number}\\n\",\"stream\":\"{stream}\",\"time\":\"1970-01-01T00:00:00.{number:09}Z\"}}\n"
        );
        file.write_all(line.as_bytes()).unwrap();
        self.count += 1;
    }
}

fn numbers(entries: &[LogEntry]) -> Vec<u32> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).trim().parse().unwrap()).collect()
}

#[test]
fn entries_are_selected_by_stream_time_and_number_across_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 4, 3);
    (0..10).for_each(|number| writer.write(number));
    let read = |options| numbers(&read_all(directory.path().to_owned(), options).unwrap());
    assert_eq!(read(BOTH), (0..10).collect::<Vec<_>>());
    assert_eq!(read(LogOptions { stderr: false, ..BOTH }), [0, 2, 4, 6, 8]);
    assert_eq!(read(LogOptions { stdout: false, ..BOTH }), [1, 3, 5, 7, 9]);
    assert_eq!(read(LogOptions { since_ns: Some(7), ..BOTH }), [7, 8, 9]);
    assert_eq!(read(LogOptions { until_ns: Some(2), ..BOTH }), [0, 1, 2]);
    for tail in 0..12 {
        let first = 10_u64.saturating_sub(tail);
        let expected: Vec<u32> = (0..10).filter(|number| u64::from(*number) >= first).collect();
        assert_eq!(read(LogOptions { tail: Some(tail), ..BOTH }), expected, "tail {tail}");
    }
}

#[test]
fn torn_lines_are_skipped_and_no_log_is_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read_all(directory.path().to_owned(), BOTH).unwrap(), []);
    let mut writer = Writer::new(directory.path(), 100, 1);
    writer.write(1);
    let mut file = fs::OpenOptions::new().append(true).open(directory.path().join("log.json")).unwrap();
    file.write_all(b"{\"log\":\"torn\n").unwrap();
    writer.write(2);
    assert_eq!(numbers(&read_all(directory.path().to_owned(), BOTH).unwrap()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_every_line_once_across_rotations_and_then_ends() {
    const LAST: u32 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let (open_sender, is_open) = watch::channel(true);
    let options = LogOptions { follow: true, ..BOTH };
    let path = directory.path().to_owned();
    let mut stream = open(&watcher, path.clone(), options, Some(is_open)).unwrap();
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::new(&path, 500, 30);
        (0..LAST).for_each(|number| writer.write(number));
        open_sender.send_replace(false);
    });
    let mut expected = 0;
    while let Some(entry) = stream.next().await {
        assert_eq!(numbers(&[entry.unwrap()]), [expected]);
        expected += 1;
    }
    assert_eq!(expected, LAST);
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_follower_keeps_files_that_are_rotated_away() {
    let directory = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let (open_sender, is_open) = watch::channel(true);
    let options = LogOptions { follow: true, ..BOTH };
    let mut stream = open(&watcher, directory.path().to_owned(), options, Some(is_open)).unwrap();
    let mut writer = Writer::new(directory.path(), 300, 3);
    writer.write(0);
    assert_eq!(numbers(&[stream.next().await.unwrap().unwrap()]), [0]);
    // Nobody reads meanwhile; the reader has room for two batches and then only keeps files.
    for number in 1..6000 {
        writer.write(number);
        if number % 100 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
    open_sender.send_replace(false);
    let mut expected = 1;
    while let Some(entry) = stream.next().await {
        assert_eq!(numbers(&[entry.unwrap()]), [expected]);
        expected += 1;
    }
    assert_eq!(expected, 6000);
}

/// As the shim does: the header's comment is the time of the last entry, and the plain file goes last.
fn compress(directory: &Path, number: u32, keep_plain: bool) {
    let plain = directory.join(format!("log.json.{number}"));
    let text = fs::read(&plain).unwrap();
    let time = &text[text.len() - 33..text.len() - 3];
    let file = fs::File::create(plain.with_added_extension("gz")).unwrap();
    let mut encoder = flate2::GzBuilder::new().comment(time).write(file, flate2::Compression::fast());
    encoder.write_all(&text).unwrap();
    encoder.finish().unwrap();
    if !keep_plain {
        fs::remove_file(plain).unwrap();
    }
}

#[test]
fn compressed_files_are_read_like_others_also_from_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 4, 9);
    (0..18).for_each(|number| writer.write(number));
    compress(directory.path(), 4, false);
    compress(directory.path(), 3, false);
    // The shim was killed before it removed this one's plain file.
    compress(directory.path(), 2, true);
    let read = |options| numbers(&read_all(directory.path().to_owned(), options).unwrap());
    assert_eq!(read(BOTH), (0..18).collect::<Vec<_>>());
    for tail in 0..20 {
        let first = 18_u64.saturating_sub(tail);
        let expected: Vec<u32> = (0..18).filter(|number| u64::from(*number) >= first).collect();
        assert_eq!(read(LogOptions { tail: Some(tail), ..BOTH }), expected, "tail {tail}");
    }
}

#[test]
fn a_file_that_is_compressed_under_its_reader_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 4, 9);
    (0..4).for_each(|number| writer.write(number));
    let mut reader = Reader::open(directory.path().to_owned(), BOTH).unwrap();
    (4..10).for_each(|number| writer.write(number));
    // What the reader has open as `log.json` is `log.json.2.gz` now.
    compress(directory.path(), 2, false);
    compress(directory.path(), 1, false);
    let mut entries = Vec::new();
    while let Some(batch) = reader.read().unwrap() {
        entries.extend(batch);
    }
    assert_eq!(numbers(&entries), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_is_much_slower_than_rotation_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 1, 2);
    writer.write(0);
    let mut reader = Reader::open(directory.path().to_owned(), BOTH).unwrap();
    let failed = (1..100).find_map(|number| {
        writer.write(number);
        reader.track().err()
    });
    assert!(failed.unwrap().to_string().starts_with("the reader of the log is too slow"));
}

#[test]
fn a_reader_that_looks_in_the_middle_of_a_rotation_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u32| {
        directory.path().join(if number == 0 { "log.json".into() } else { format!("log.json.{number}") })
    };
    let mut writer = Writer::new(directory.path(), 4, 9);
    (0..4).for_each(|number| writer.write(number));
    let mut reader = Reader::open(directory.path().to_owned(), BOTH).unwrap();
    (4..14).for_each(|number| writer.write(number));
    // The files before the current one have moved; the current one has not yet.
    for number in (1..4).rev() {
        drop(fs::rename(path(number), path(number + 1)));
    }
    reader.track().unwrap();
    let mut entries = Vec::new();
    while let Some(batch) = reader.read().unwrap() {
        entries.extend(batch);
    }
    assert_eq!(numbers(&entries), (0..14).collect::<Vec<_>>());
}
