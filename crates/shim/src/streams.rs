//! The standard streams of one process: read, logged, passed to attachers; and what they type, passed to it.
//!
//! ```text
//! process ─▶ pipe or terminal ─▶ Output ─┬▶ log (whole lines)
//!                                        └▶ attachers (bytes as they come)
//! attachers ─▶ queue (bounded) ─▶ pipe or terminal ─▶ process
//! ```
//!
//! Output is read only while every attacher has room: a slow attacher slows the process down until it is dropped. The log is
//! never behind what was read.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runtime::{Stdio, TerminalSize};
use rustix::io::Errno;

use crate::attach::Attacher;
use crate::log::{ENTRY_MAX, Log, Source};

/// What is read at a time; the kernel's pipes hold twice as much.
const READ_MAX: usize = 32 << 10;

/// Typed bytes that wait for a process that does not read.
const STDIN_MAX: usize = 64 << 10;

/// The streams of a process.
#[derive(Debug, Default)]
pub struct Streams {
    stdin: Option<OwnedFd>,
    stdin_queue: VecDeque<u8>,
    /// Close the process's input when the queue is empty.
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

/// What of a process is connected to what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub terminal: bool,
    pub stdin: bool,
    pub size: TerminalSize,
}

impl Streams {
    /// Pipes for a process, our ends and its; or the wish for a terminal.
    pub fn make(wanted: Wanted) -> rustix::io::Result<(Streams, Stdio)> {
        if wanted.terminal {
            return Ok((Streams::default(), Stdio::Terminal { size: wanted.size }));
        }
        let (stdout, theirs_out) = pipe()?;
        let (stderr, theirs_err) = pipe()?;
        let (stdin, theirs_in) = if wanted.stdin {
            let (theirs, ours) = pipe()?;
            (Some(ours), Some(theirs))
        } else {
            (None, None)
        };
        let output = |descriptor, source| Output { descriptor, source, line: Vec::new() };
        let outputs = vec![output(stdout, Source::Stdout), output(stderr, Source::Stderr)];
        for ours in outputs.iter().map(|output| &output.descriptor).chain(stdin.as_ref()) {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let stdio = Stdio::Pipes { stdin: theirs_in, stdout: theirs_out, stderr: theirs_err };
        Ok((Streams { stdin, outputs, ..Streams::default() }, stdio))
    }

    /// The terminal is there.
    pub fn set_terminal(&mut self, master: OwnedFd, stdin: bool) -> rustix::io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        self.outputs.push(Output {
            descriptor: master.try_clone_fd()?,
            source: Source::Stdout,
            line: Vec::new(),
        });
        self.stdin = if stdin { Some(master.try_clone_fd()?) } else { None };
        self.terminal = Some(master);
        Ok(())
    }

    /// Whether the streams are a terminal.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Outputs to wait for, with the number to give to [`Streams::read`].
    pub fn readable(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.outputs.iter().enumerate().map(|(index, output)| (index, output.descriptor.as_fd()))
    }

    /// The input to wait for, if bytes wait for it.
    pub fn writable(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|_| !self.stdin_queue.is_empty()).map(AsFd::as_fd)
    }

    /// Whether every output has ended.
    pub fn is_drained(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Whether more may be typed.
    pub fn has_room(&self) -> bool {
        self.stdin_queue.len() < STDIN_MAX
    }

    /// Queues typed bytes.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        if self.stdin.is_some() && !self.stdin_ends {
            self.stdin_queue.extend(bytes);
            self.write();
        }
    }

    /// Ends the process's input after what is queued.
    pub fn end_stdin(&mut self) {
        self.stdin_ends = true;
        self.write();
    }

    /// Passes queued bytes on, as many as the process takes.
    pub fn write(&mut self) {
        while let Some(stdin) = &self.stdin {
            let (front, _) = self.stdin_queue.as_slices();
            if front.is_empty() {
                break;
            }
            match rustix::io::write(stdin, front) {
                Ok(length) => drop(self.stdin_queue.drain(..length)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.stdin = None;
                    self.stdin_queue.clear();
                }
            }
        }
        // A terminal has no end of its own: its input stays open.
        if self.stdin_ends && self.terminal.is_none() {
            self.stdin = None;
        }
    }

    /// Reads from one output once; whether there may be more at once.
    pub fn read(&mut self, index: usize, log: Option<&mut Log>, attachers: &mut [&mut Attacher]) -> bool {
        let mut buffer = [0; READ_MAX];
        let Some(output) = self.outputs.get_mut(index) else { return false };
        let length = match rustix::io::read(&output.descriptor, &mut buffer) {
            Ok(length @ 1..) => length,
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => return true,
            // The end; a terminal whose last process has closed it says EIO.
            Ok(_) | Err(_) => {
                self.close(index, log);
                return false;
            }
        };
        let bytes = &buffer[..length];
        let is_terminal = self.terminal.is_some();
        for attacher in attachers {
            attacher.give(output.source, bytes, is_terminal);
        }
        if let Some(log) = log {
            output.log(bytes, log);
        }
        true
    }

    /// Takes what is there and ends every output, whoever still holds its other end.
    pub fn drain(&mut self, mut log: Option<&mut Log>, attachers: &mut [&mut Attacher]) {
        while !self.outputs.is_empty() {
            while self.read(0, log.as_deref_mut(), attachers) {}
            // It may have ended by itself.
            if !self.outputs.is_empty() {
                self.close(0, log.as_deref_mut());
            }
        }
    }

    fn close(&mut self, index: usize, log: Option<&mut Log>) {
        let output = self.outputs.swap_remove(index);
        if let Some(log) = log
            && !output.line.is_empty()
        {
            log.add(output.source, &output.line);
        }
    }
}

impl Output {
    /// Adds whole lines to the log, keeps the rest.
    fn log(&mut self, mut bytes: &[u8], log: &mut Log) {
        while !bytes.is_empty() {
            let room = ENTRY_MAX - self.line.len();
            let window = &bytes[..room.min(bytes.len())];
            let (length, is_whole) = match window.iter().position(|byte| *byte == b'\n') {
                Some(position) => (position + 1, true),
                None => (window.len(), window.len() == room),
            };
            let (head, rest) = bytes.split_at(length);
            bytes = rest;
            if is_whole && self.line.is_empty() {
                log.add(self.source, head);
            } else {
                self.line.extend_from_slice(head);
                if is_whole {
                    log.add(self.source, &self.line);
                    self.line.clear();
                }
            }
        }
    }
}

/// Cloning a descriptor without the detour over a file.
trait TryCloneFd {
    fn try_clone_fd(&self) -> rustix::io::Result<OwnedFd>;
}

impl TryCloneFd for OwnedFd {
    fn try_clone_fd(&self) -> rustix::io::Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self, 0)
    }
}

fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}
