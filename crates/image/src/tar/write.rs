//! Writes tar archives: POSIX ustar, and a pax header before an entry that ustar has no room for.
//!
//! The bytes depend on the entries alone: records are sorted, and nothing of this machine or moment is added. What a
//! file is missing of its announced size is filled up with zeros and what it has more is cut off, because a container
//! may write to a file while it is read and an archive that breaks off helps nobody.

use std::io::{self, Write};

use super::{BLOCK_SIZE, Entry, Kind, Time, padding_of};

/// Largest numbers that fit in seven and in eleven octal digits.
const SEVEN_DIGITS: u64 = 0o7_777_777;
const ELEVEN_DIGITS: u64 = 0o77_777_777_777;
const NAME_LENGTH: usize = 100;
const PREFIX_LENGTH: usize = 155;
const NANOSECONDS: u32 = 1_000_000_000;

/// Writes entries one after the other.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Content that the current entry has announced and that was not written.
    remaining: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(output: W) -> Writer<W> {
        Writer { output, remaining: 0, padding: 0 }
    }

    /// Begins an entry; what the one before lacks of its content is filled up. A file is written without holes.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.fill_up()?;
        let records = records(entry);
        if !records.is_empty() {
            let size = records.len() as u64;
            let mut header = Header::new(b'x', 0o644, size);
            header.put(0, &pax_name(&entry.path));
            self.output.write_all(&header.seal())?;
            self.output.write_all(&records)?;
            self.write_zeros(padding_of(size))?;
        }
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.output.write_all(&header(entry, size).seal())?;
        (self.remaining, self.padding) = (size, padding_of(size));
        Ok(())
    }

    /// Writes content of the current entry; how much of it belonged to it.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        self.output.write_all(&bytes[..length])?;
        self.remaining -= length as u64;
        Ok(length)
    }

    /// Content that the current entry still takes.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Writes the end mark.
    pub fn finish(mut self) -> io::Result<W> {
        self.fill_up()?;
        self.write_zeros(2 * BLOCK_SIZE as u64)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn fill_up(&mut self) -> io::Result<()> {
        let missing = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        self.write_zeros(missing)
    }

    fn write_zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), count), &mut self.output).map(drop)
    }
}

/// One header block in the making.
struct Header([u8; BLOCK_SIZE]);

impl Header {
    fn new(kind: u8, mode: u32, size: u64) -> Header {
        let mut header = Header([0; BLOCK_SIZE]);
        header.number(100..108, mode.into());
        header.number(108..116, 0);
        header.number(116..124, 0);
        header.number(124..136, size);
        header.number(136..148, 0);
        header.put(156, &[kind]);
        header.put(257, b"ustar\x0000");
        header
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Octal digits and a NUL. What does not fit is zero: a pax record says it.
    fn number(&mut self, field: std::ops::Range<usize>, value: u64) {
        let digits = field.len() - 1;
        let text = format!("{value:0digits$o}");
        let text = if text.len() > digits { "0".repeat(digits) } else { text };
        self.put(field.start, text.as_bytes());
    }

    /// Adds the checksum, of which the own field counts as spaces.
    fn seal(mut self) -> [u8; BLOCK_SIZE] {
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

fn header(entry: &Entry, size: u64) -> Header {
    let kind = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let mut header = Header::new(kind, entry.mode & 0o7777, size);
    let (prefix, name) = split(&entry.path).unwrap_or_else(|| (b"", &entry.path[..NAME_LENGTH]));
    header.put(0, name);
    header.put(345, prefix);
    header.put(157, &entry.link[..entry.link.len().min(NAME_LENGTH)]);
    header.number(108..116, entry.uid.into());
    header.number(116..124, entry.gid.into());
    header.number(136..148, u64::try_from(entry.mtime.seconds).unwrap_or(0));
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        header.number(329..337, entry.device.0.into());
        header.number(337..345, entry.device.1.into());
    }
    header
}

/// A path in ustar's two fields, if it fits: the slash between them is not written.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME_LENGTH {
        return Some((b"", path));
    }
    // The first slash that leaves a short enough name, but not an empty one.
    let from = path.len() - NAME_LENGTH - 1;
    let slash = from + path[from..path.len() - 1].iter().position(|&byte| byte == b'/')?;
    (slash > 0 && slash <= PREFIX_LENGTH).then(|| (&path[..slash], &path[slash + 1..]))
}

/// The records that an entry needs beside its header; empty when it needs none.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));
    for (key, id) in [("gid", entry.gid), ("uid", entry.uid)] {
        if u64::from(id) > SEVEN_DIGITS {
            add(key.as_bytes(), id.to_string().as_bytes());
        }
    }
    if entry.link.len() > NAME_LENGTH {
        add(b"linkpath", &entry.link);
    }
    let fits = u64::try_from(entry.mtime.seconds).is_ok_and(|seconds| seconds <= ELEVEN_DIGITS);
    if !fits || entry.mtime.nanoseconds != 0 {
        add(b"mtime", time(entry.mtime).as_bytes());
    }
    if split(&entry.path).is_none() {
        add(b"path", &entry.path);
    }
    if entry.kind == Kind::File && entry.size > ELEVEN_DIGITS {
        add(b"size", entry.size.to_string().as_bytes());
    }
    for xattr in &entry.xattrs {
        add(&[b"SCHILY.xattr.", &xattr.name[..]].concat(), &xattr.value);
    }
    records.sort();
    records.iter().flat_map(|(key, value)| record(key, value)).collect()
}

/// `length key=value\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Seconds with a fraction, if there is one; half a second before `-1` is `-1.5`.
fn time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (seconds @ ..0, 1..) => ("-", (seconds + 1).unsigned_abs(), NANOSECONDS - time.nanoseconds),
        (seconds @ ..0, _) => ("-", seconds.unsigned_abs(), 0),
        (seconds, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// What readers that do not know pax call the file that they make of a pax header.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let base = trimmed.rsplit(|&byte| byte == b'/').next().unwrap_or(trimmed);
    let mut name = [b"PaxHeaders.0/", base].concat();
    name.truncate(NAME_LENGTH);
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Reader, Xattr};
    use super::*;

    fn entry(kind: Kind, path: Vec<u8>) -> Entry {
        Entry { mode: 0o644, ..Entry::new(kind, path) }
    }

    fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in entries {
            writer.entry(entry).unwrap();
            writer.content(content).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
        let mut reader = Reader::new(archive);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut content = Vec::new();
            while let bytes @ [_, ..] = reader.content().unwrap() {
                let length = bytes.len();
                content.extend_from_slice(bytes);
                reader.consume(length);
            }
            entries.push((entry, content));
        }
        assert!(reader.has_end_mark());
        entries
    }

    #[test]
    fn content_is_cut_and_filled_to_the_announced_size() {
        let file = |path: &str, size| Entry { size, ..entry(Kind::File, path.into()) };
        let archive = written(&[(file("long", 3), b"abcdef"), (file("short", 5), b"ab")]);
        let contents: Vec<_> = read(&archive).into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, [b"abc".to_vec(), b"ab\0\0\0".to_vec()]);
    }

    #[test]
    fn paths_are_split_where_ustar_can_have_them() {
        let long = |length: usize| vec![b'a'; length];
        assert_eq!(split(&long(100)), Some((&b""[..], &long(100)[..])));
        assert_eq!(split(&long(101)), None);
        let path = [&long(155)[..], b"/", &long(100)].concat();
        assert_eq!(split(&path), Some((&long(155)[..], &long(100)[..])));
        for path in [[&long(156)[..], b"/", &long(100)].concat(), [&long(120)[..], b"/"].concat()] {
            assert_eq!(split(&path), None);
        }
        assert_eq!(split(&[b"/", &long(100)[..]].concat()), None);
    }

    #[test]
    fn a_plain_entry_needs_no_pax_header() {
        let archive = written(&[(entry(Kind::Directory, b"etc/".into()), b"")]);
        assert_eq!(archive.len(), 3 * BLOCK_SIZE);
        assert_eq!((&archive[..5], archive[156]), (&b"etc/\0"[..], b'5'));
    }

    fn any_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
        let bytes = |length| prop::collection::vec(1u8..=255, length);
        let kind = prop_oneof![
            Just(Kind::File),
            Just(Kind::HardLink),
            Just(Kind::Symlink),
            Just(Kind::Directory),
            Just(Kind::BlockDevice),
        ];
        let numbers = (0..u32::MAX, 0..u32::MAX, 0u32..0o10000, any::<i64>(), 0..NANOSECONDS);
        let xattr = (
            prop::sample::select(vec!["user.a", "security.capability"]),
            prop::collection::vec(any::<u8>(), 1..40),
        );
        (kind, bytes(1..300), bytes(1..300), numbers, prop::option::of(xattr), bytes(0..1200)).prop_map(
            |(kind, mut path, link, (uid, gid, mode, seconds, nanoseconds), xattr, content)| {
                while path.ends_with(b"/") {
                    path.pop();
                }
                path.push(if kind == Kind::Directory { b'/' } else { b'x' });
                let is_link = matches!(kind, Kind::HardLink | Kind::Symlink);
                let content = if kind == Kind::File { content } else { Vec::new() };
                let mtime = Time { seconds: seconds / 2, nanoseconds };
                let xattrs = xattr.map(|(name, value)| Xattr { name: name.into(), value });
                let entry = Entry {
                    size: content.len() as u64,
                    mode,
                    uid,
                    gid,
                    mtime,
                    link: if is_link { link } else { Vec::new() },
                    device: if kind == Kind::BlockDevice { (uid % 4096, gid % 1_048_576) } else { (0, 0) },
                    xattrs: xattrs.into_iter().collect(),
                    ..entry(kind, path)
                };
                (entry, content)
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(entries in prop::collection::vec(any_entry(), 0..6)) {
            let borrowed: Vec<_> = entries.iter().map(|(entry, content)| (entry.clone(), &content[..])).collect();
            prop_assert_eq!(read(&written(&borrowed)), entries);
        }
    }
}
