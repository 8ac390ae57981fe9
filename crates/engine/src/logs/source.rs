//! One file of a log, open: as it was written, or compressed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use flate2::read::GzDecoder;

/// How much is read at once.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// What an entry ends with: a time of this length, and these characters.
const TIME_LENGTH: usize = "2026-01-02T03:04:05.000000006Z".len();
const ENTRY_END: &str = "\"}\n";

/// A file, and how far it is read.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    pub(super) inode: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// Read up to here.
    Plain(u64),
    Packed {
        decoder: Box<GzDecoder<From>>,
        /// Decompressed, and not taken yet.
        ready: Vec<u8>,
        /// The time of its last entry, which its plain file has as well.
        last_time: Vec<u8>,
    },
}

/// Reads a file from a place of its own.
#[derive(Debug)]
struct From {
    file: File,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

impl Source {
    /// Opens a file of the log under its plain name, or as it is called compressed.
    pub(super) fn open(path: &Path) -> io::Result<Source> {
        match File::open(path) {
            Ok(file) => Ok(Source { inode: file.metadata()?.ino(), file, data: Data::Plain(0) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::open(path.with_added_extension("gz"))?;
                let inode = file.metadata()?.ino();
                let decoder = decoder(&file)?;
                let comment = decoder.header().and_then(|header| header.comment());
                let last_time = comment.unwrap_or_default().to_vec();
                Ok(Source { file, inode, data: Data::Packed { decoder, ready: Vec::new(), last_time } })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it is the same piece of the log: the same file, or the one it was compressed from.
    pub(super) fn is_same(&self, other: &Source) -> io::Result<bool> {
        match (&self.data, &other.data) {
            (Data::Packed { last_time, .. }, Data::Plain(_)) => other.ends_at(last_time),
            (Data::Plain(_), Data::Packed { last_time, .. }) => self.ends_at(last_time),
            _ => Ok(self.inode == other.inode),
        }
    }

    fn ends_at(&self, last_time: &[u8]) -> io::Result<bool> {
        let mut tail = [0; TIME_LENGTH + ENTRY_END.len()];
        let Some(begin) = self.file.metadata()?.len().checked_sub(tail.len() as u64) else {
            return Ok(false);
        };
        self.file.read_exact_at(&mut tail, begin)?;
        Ok(&tail[..TIME_LENGTH] == last_time)
    }

    /// The next piece; 0: its end.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match &mut self.data {
            Data::Plain(offset) => {
                let length = self.file.read_at(chunk, *offset)?;
                *offset += length as u64;
                Ok(length)
            }
            Data::Packed { ready, .. } if !ready.is_empty() => {
                let length = ready.len().min(chunk.len());
                chunk[..length].copy_from_slice(&ready[..length]);
                ready.drain(..length);
                Ok(length)
            }
            Data::Packed { decoder, .. } => decoder.read(chunk),
        }
    }

    /// Skips all but the last `wanted` lines; how many are left.
    pub(super) fn skip_to_tail(&mut self, wanted: u64) -> io::Result<u64> {
        match &mut self.data {
            Data::Plain(offset) => {
                let (begin, found) = tail_offset(&self.file, wanted)?;
                *offset = begin;
                Ok(found)
            }
            Data::Packed { decoder: own, ready, .. } => {
                // From its end nobody can read it: once to count, once to skip.
                let lines = count_lines(decoder(&self.file)?)?;
                *ready = skip_lines(own, lines.saturating_sub(wanted))?;
                Ok(lines.min(wanted))
            }
        }
    }
}

fn decoder(file: &File) -> io::Result<Box<GzDecoder<From>>> {
    Ok(Box::new(GzDecoder::new(From { file: file.try_clone()?, offset: 0 })))
}

fn newlines(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at)
}

fn count_lines(mut text: impl Read) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lines = 0;
    loop {
        match text.read(&mut chunk)? {
            0 => return Ok(lines),
            length => lines += newlines(&chunk[..length]).count() as u64,
        }
    }
}

/// Reads over so many lines; what was read beyond them.
fn skip_lines(mut text: impl Read, mut lines: u64) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    while lines > 0 {
        let length = text.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        for at in newlines(&chunk[..length]) {
            lines -= 1;
            if lines == 0 {
                return Ok(chunk[at + 1..length].to_vec());
            }
        }
    }
    Ok(Vec::new())
}

/// Where the last `wanted` lines of a file begin, and how many there are.
fn tail_offset(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
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
