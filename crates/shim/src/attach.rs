//! Attachers: clients on the attach socket.
//!
//! ```text
//! Asking ──request──▶ Attached ──output ended, buffer flushed──▶ gone
//! ```
//!
//! A client sends a length (u32, little-endian) and an `AttachRequest`, gets an `AttachResponse` likewise, and then the output of the
//! process: raw bytes of a terminal, else Docker's frames. What it sends is typed into the process.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use api::shim::{AttachRequest, AttachResponse};
use prost::Message;

use crate::log::Source;

/// Output that waits for a slow client. When it is full the process is slowed down.
const BUFFER_MAX: usize = 1 << 20;

/// A client that takes nothing for so long is dropped, so that the process goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request names an exec at most.
const REQUEST_MAX: usize = 4 << 10;

/// Bytes of input that are taken at a time.
const READ_MAX: usize = 16 << 10;

/// One client.
#[derive(Debug)]
pub struct Attacher {
    pub stream: UnixStream,
    request: Option<AttachRequest>,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    last_progress: Instant,
    /// The client may still send.
    pub is_reading: bool,
    /// Gone when the buffer is empty.
    is_finishing: bool,
    is_gone: bool,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// It asked to be attached; answer with [`Attacher::accept`] or [`Attacher::refuse`].
    Asked,
    /// It typed this.
    Typed(Vec<u8>),
    /// Its input has ended.
    Ended,
}

impl Attacher {
    /// A client that has just connected.
    pub fn new(stream: UnixStream) -> io::Result<Attacher> {
        stream.set_nonblocking(true)?;
        Ok(Attacher {
            stream,
            request: None,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            last_progress: Instant::now(),
            is_reading: true,
            is_finishing: false,
            is_gone: false,
        })
    }

    /// What it asked for, once it has been accepted.
    pub fn request(&self) -> Option<&AttachRequest> {
        self.request.as_ref()
    }

    /// Whether it is attached to that process.
    pub fn is_on(&self, exec: &str) -> bool {
        self.request.as_ref().is_some_and(|request| request.exec_id == exec)
    }

    /// Whether it wants to see more now.
    pub fn has_room(&self) -> bool {
        self.is_gone || self.is_finishing || self.pending() < BUFFER_MAX
    }

    /// Whether bytes wait for it.
    pub fn wants_write(&self) -> bool {
        self.pending() > 0
    }

    /// Whether it can be forgotten.
    pub fn is_done(&self) -> bool {
        self.is_gone || (self.is_finishing && self.pending() == 0)
    }

    /// When it will be given up if it takes nothing until then.
    pub fn deadline(&self) -> Option<Instant> {
        (self.pending() >= BUFFER_MAX && !self.is_gone).then(|| self.last_progress + PATIENCE)
    }

    /// Reads once.
    pub fn read(&mut self) -> Said {
        let mut buffer = [0; READ_MAX];
        match self.stream.read(&mut buffer) {
            Ok(0) => {
                self.is_reading = false;
                // Who leaves before asking is gone.
                self.is_gone |= self.request.is_none();
                Said::Ended
            }
            Ok(length) if self.request.is_some() => Said::Typed(buffer[..length].to_vec()),
            Ok(length) => {
                self.input.extend_from_slice(&buffer[..length]);
                self.parse()
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Said::Nothing
            }
            Err(_) => {
                self.is_gone = true;
                self.is_reading = false;
                Said::Ended
            }
        }
    }

    fn parse(&mut self) -> Said {
        let Some((head, rest)) = self.input.split_first_chunk::<4>() else { return Said::Nothing };
        let length = u32::from_le_bytes(*head) as usize;
        if length > REQUEST_MAX {
            self.is_gone = true;
            return Said::Nothing;
        }
        let Some(message) = rest.get(..length) else { return Said::Nothing };
        match AttachRequest::decode(message) {
            Ok(request) => {
                self.input.drain(..4 + length);
                self.request = Some(request);
                Said::Asked
            }
            Err(_) => {
                self.is_gone = true;
                Said::Nothing
            }
        }
    }

    /// It is attached; what it typed with the request.
    pub fn accept(&mut self, tty: bool) -> Vec<u8> {
        self.answer(&AttachResponse { error: String::new(), tty });
        std::mem::take(&mut self.input)
    }

    /// It is not.
    pub fn refuse(&mut self, why: &str) {
        self.answer(&AttachResponse { error: why.to_owned(), tty: false });
        self.request = None;
        self.is_finishing = true;
    }

    fn answer(&mut self, response: &AttachResponse) {
        let bytes = response.encode_to_vec();
        let length = u32::try_from(bytes.len()).expect("an answer is one line");
        self.output.extend_from_slice(&length.to_le_bytes());
        self.output.extend_from_slice(&bytes);
        self.last_progress = Instant::now();
        self.write();
    }

    /// Shows it output, if it asked for that stream.
    pub fn give(&mut self, source: Source, bytes: &[u8], is_terminal: bool) {
        let wants = self.request.as_ref().is_some_and(|request| match source {
            Source::Stdout => request.stdout || is_terminal,
            Source::Stderr => request.stderr,
        });
        if !wants || self.is_gone {
            return;
        }
        if self.pending() == 0 {
            self.last_progress = Instant::now();
        }
        if !is_terminal {
            let length = u32::try_from(bytes.len()).expect("a read is bounded");
            self.output.extend_from_slice(&[source.number(), 0, 0, 0]);
            self.output.extend_from_slice(&length.to_be_bytes());
        }
        self.output.extend_from_slice(bytes);
    }

    /// Writes what it takes; gives it up when it has taken nothing for too long.
    pub fn write(&mut self) {
        while self.pending() > 0 && !self.is_gone {
            match self.stream.write(&self.output[self.written..]) {
                Ok(length) => {
                    self.written += length;
                    self.last_progress = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_gone = self.deadline().is_some_and(|deadline| deadline <= Instant::now());
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
        if self.pending() == 0 {
            self.output.clear();
            self.output.shrink_to(READ_MAX);
            self.written = 0;
        }
        if self.is_done() {
            // It may have gone already.
            drop(self.stream.shutdown(Shutdown::Both));
        }
    }

    /// The process's output has ended: what waits is written, then it is let go.
    pub fn finish(&mut self) {
        self.is_finishing = true;
        self.write();
    }

    fn pending(&self) -> usize {
        self.output.len() - self.written
    }
}
