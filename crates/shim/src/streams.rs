//! The standard streams of one process: read, logged, passed to attachers; and what they type, passed to it.
//!
//! ```text
//! process ─▶ pipe or terminal ─▶ Output ─┬▶ log (whole lines)
//!                                        └▶ attachers (bytes as they come)
//! attachers ─▶ queue (bounded) ─▶ pipe or terminal ─▶ process
//! ```
//!
//! Output is read only while every attacher and the log's collector have room: a slow one slows the process down until it is
//! given up. The log's file is never behind what was read.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runtime::{Stdio, TerminalSize};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::attach::{Attacher, Kept};
use crate::log::{Cut, ENTRY_MAX, Log, Source};

/// What is read at a time; the kernel's pipes hold twice as much.
const READ_MAX: usize = 32 << 10;

/// Typed bytes that wait for a process that does not read.
const STDIN_MAX: usize = 64 << 10;

/// What is taken from a pipe that others still hold after its process has ended: as much as a pipe can hold
/// (`/proc/sys/fs/pipe-max-size`), because somebody may go on writing for ever.
const REST_MAX: usize = 1 << 20;

/// The streams of a process.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    stdin: Option<OwnedFd>,
    typed: VecDeque<u8>,
    /// Close the process's input when `typed` is empty.
    stdin_ends: bool,
    terminal: Option<OwnedFd>,
    outputs: Vec<Output>,
}

/// One open output.
#[derive(Debug)]
struct Output {
    descriptor: OwnedFd,
    source: Source,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
}

/// How a process wants to be connected.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) terminal: bool,
    pub(crate) stdin: bool,
    pub(crate) size: TerminalSize,
    pub(crate) owner: Owner,
}

/// Whose a process's ends of its pipes are, for that it may open them again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Where output goes.
#[derive(Debug)]
pub(crate) struct Sinks<'a> {
    pub(crate) log: Option<&'a mut Log>,
    pub(crate) attachers: Vec<&'a mut Attacher>,
    pub(crate) kept: Option<&'a mut Kept>,
}

impl Streams {
    /// Pipes for a process, our ends and its; or the wish for a terminal.
    pub(crate) fn make(wanted: Wanted) -> rustix::io::Result<(Streams, Stdio)> {
        if wanted.terminal {
            return Ok((Streams::default(), Stdio::Terminal { size: wanted.size }));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let (stdin, their_stdin) = match wanted.stdin {
            true => {
                let (theirs, ours) = pipe()?;
                (Some(ours), Some(theirs))
            }
            false => (None, None),
        };
        for ours in [Some(&stdout), Some(&stderr), stdin.as_ref()].into_iter().flatten() {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        for theirs in [Some(&their_stdout), Some(&their_stderr), their_stdin.as_ref()].into_iter().flatten() {
            wanted.owner.own(theirs)?;
        }
        let outputs = vec![Output::new(stdout, Source::Stdout), Output::new(stderr, Source::Stderr)];
        let stdio = Stdio::Pipes { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
        Ok((Streams { stdin, outputs, ..Streams::default() }, stdio))
    }

    /// The terminal is there.
    pub(crate) fn set_terminal(&mut self, master: OwnedFd, stdin: bool) -> rustix::io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let duplicate = || rustix::io::fcntl_dupfd_cloexec(&master, 0);
        self.outputs.push(Output::new(duplicate()?, Source::Stdout));
        self.stdin = if stdin { Some(duplicate()?) } else { None };
        self.terminal = Some(master);
        Ok(())
    }

    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Outputs to wait for; their order is that of [`Streams::read`].
    pub(crate) fn readable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|output| output.descriptor.as_fd())
    }

    /// The input to wait for, if bytes wait for it.
    pub(crate) fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|_| !self.typed.is_empty()).map(AsFd::as_fd)
    }

    /// Whether every output has ended.
    pub(crate) fn is_drained(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Whether more may be typed. Into a closed input anything may: it is thrown away.
    pub(crate) fn takes_input(&self) -> bool {
        self.stdin.is_none() || self.typed.len() < STDIN_MAX
    }

    /// Types into the process.
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        if self.stdin.is_some() && !self.stdin_ends {
            self.typed.extend(bytes);
            self.write();
        }
    }

    /// Ends the process's input after what was typed. A terminal's stays open: its end is a character.
    pub(crate) fn end_stdin(&mut self) {
        self.stdin_ends = self.terminal.is_none();
        self.write();
    }

    /// Passes typed bytes on, as many as the process takes.
    pub(crate) fn write(&mut self) {
        while let Some(stdin) = &self.stdin
            && let (front @ [_, ..], _) = self.typed.as_slices()
        {
            match rustix::io::write(stdin, front) {
                Ok(length) => drop(self.typed.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.stdin = None;
                    self.typed.clear();
                }
            }
        }
        self.typed.shrink_to(0);
        if self.stdin_ends {
            self.stdin = None;
        }
    }

    /// Reads once from each output; how much there was. 0: all there is for now.
    pub(crate) fn read(&mut self, sinks: &mut Sinks<'_>) -> usize {
        let is_terminal = self.terminal.is_some();
        let mut buffer = [0; READ_MAX];
        let mut total = 0;
        self.outputs.retain_mut(|output| match rustix::io::read(&output.descriptor, &mut buffer) {
            Ok(length @ 1..) => {
                total += length;
                sinks.give(output, &buffer[..length], is_terminal);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // The end; a terminal whose last process has closed it says EIO.
            Ok(_) | Err(_) => {
                sinks.end(output);
                false
            }
        });
        total
    }

    /// Takes what is there and ends every output, whoever still holds its other end.
    pub(crate) fn drain(&mut self, sinks: &mut Sinks<'_>) {
        let mut total = 0;
        while !self.outputs.is_empty() && total < REST_MAX {
            match self.read(sinks) {
                0 => break,
                length => total += length,
            }
        }
        for output in std::mem::take(&mut self.outputs) {
            sinks.end(&output);
        }
    }
}

impl Owner {
    fn own(self, descriptor: &OwnedFd) -> rustix::io::Result<()> {
        if self == Owner::default() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(descriptor, Some(uid), Some(gid))
    }
}

impl Sinks<'_> {
    /// Whether everybody takes more.
    pub(crate) fn have_room(&self) -> bool {
        self.attachers.iter().all(|attacher| attacher.has_room())
            && self.kept.as_ref().is_none_or(|kept| kept.has_room())
            && self.log.as_ref().is_none_or(|log| log.has_room())
    }

    fn give(&mut self, output: &mut Output, bytes: &[u8], is_terminal: bool) {
        for attacher in &mut self.attachers {
            attacher.give(output.source, bytes, is_terminal);
        }
        if let Some(kept) = &mut self.kept {
            kept.give(output.source, bytes);
        }
        if let Some(log) = &mut self.log {
            output.log(bytes, log);
        }
    }

    /// An output has ended, perhaps within a line.
    fn end(&mut self, output: &Output) {
        if let Some(log) = &mut self.log
            && !output.line.is_empty()
        {
            log.add(output.source, &output.line, Cut::Whole);
        }
    }
}

impl Output {
    fn new(descriptor: OwnedFd, source: Source) -> Output {
        Output { descriptor, source, line: Vec::new() }
    }

    /// Adds whole lines to the log, and pieces of those that are too long; keeps the rest.
    fn log(&mut self, mut bytes: &[u8], log: &mut Log) {
        while !bytes.is_empty() {
            let room = ENTRY_MAX - self.line.len();
            let window = &bytes[..room.min(bytes.len())];
            let (length, is_entry) = match window.iter().position(|byte| *byte == b'\n') {
                Some(position) => (position + 1, true),
                None if window.len() < room => (window.len(), false),
                None => (window.len() - unfinished(window), true),
            };
            let (head, rest) = bytes.split_at(length);
            bytes = rest;
            let cut = if head.ends_with(b"\n") { Cut::Whole } else { Cut::GoesOn };
            match (is_entry, self.line.is_empty()) {
                (true, true) => log.add(self.source, head, cut),
                (true, false) => {
                    self.line.extend_from_slice(head);
                    log.add(self.source, &self.line, cut);
                    self.line.clear();
                }
                (false, _) => self.line.extend_from_slice(head),
            }
        }
        self.line.shrink_to(ENTRY_MAX);
    }
}

/// How many bytes at the end of `bytes` are the beginning of a character that goes on: an entry must not cut one in two.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|byte| *byte >= 0xc0) else { return 0 };
    let expected = match tail[lead] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let present = tail.len() - lead;
    if present < expected && present < bytes.len() { present } else { 0 }
}

#[cfg(test)]
mod tests {
    use api::shim::LogOptions;

    use super::*;

    fn logged(pieces: &[&[u8]]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let options = LogOptions { path: path.display().to_string(), ..LogOptions::default() };
        let mut log = Log::open(&options).unwrap().unwrap();
        let (end, _) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut output = Output::new(end, Source::Stdout);
        for piece in pieces {
            output.log(piece, &mut log);
        }
        Sinks { log: Some(&mut log), attachers: Vec::new(), kept: None }.end(&output);
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        let entry = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].clone();
        text.lines().map(|line| entry(line).as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn entries_are_lines_however_they_arrive() {
        assert_eq!(logged(&[b"one\ntwo\n"]), ["one\n", "two\n"]);
        assert_eq!(logged(&[b"o", b"ne", b"\nt", b"wo"]), ["one\n", "two"]);
        assert_eq!(logged(&[b"\n\n", b"\r\n"]), ["\n", "\n", "\r\n"]);
        assert_eq!(logged(&[]), Vec::<String>::new());
    }

    #[test]
    fn long_lines_are_pieces_of_16_kib() {
        let long = vec![b'x'; 2 * ENTRY_MAX];
        let lengths = |pieces: &[&[u8]]| logged(pieces).iter().map(String::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[&long, b"\n"]), [ENTRY_MAX, ENTRY_MAX, 1]);
        assert_eq!(lengths(&[&long[..ENTRY_MAX - 1], b"\n"]), [ENTRY_MAX]);
        assert_eq!(lengths(&[&long[..10], &long[..ENTRY_MAX], b"yy\n"]), [ENTRY_MAX, 13]);
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        for character in ["ä", "€", "😀"] {
            let text = format!("{}{}\n", "x".repeat(ENTRY_MAX - 1), character);
            let entries = logged(&[text.as_bytes()]);
            assert_eq!(entries.concat(), text);
            assert_eq!(entries.len(), 2);
        }
        // What is no text is cut where it must be.
        let noise = vec![0xff; ENTRY_MAX + 5];
        assert_eq!(logged(&[&noise]).concat().chars().count(), ENTRY_MAX + 5);
    }
}
