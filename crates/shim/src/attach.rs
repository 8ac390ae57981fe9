//! Attachers: whoever sees a process's output and types its input.
//!
//! ```text
//! Asking ──request──▶ Attached ──output ended──▶ Finishing ──buffer empty──▶ Gone
//!    └──── nonsense, too late ────────┴── hung up, stalled ─────┴────────────────▲
//! ```
//!
//! A client of the attach socket sends a length (u32, little-endian) and an `AttachRequest`, gets an `AttachResponse`
//! likewise, and then the output: raw bytes of a terminal, else Docker's frames. What it sends is typed into the process.
//! containerd's clients hand over fifos or files instead, which are attached from the start and take raw bytes.
//!
//! A slow client slows the process down when its buffer is full. One that then takes nothing for [`PATIENCE`] is dropped, so
//! that the process goes on. After the end nobody waits for it, so it may take its time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use api::shim::{AttachRequest, AttachResponse};
use prost::Message;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::log::Source;

/// Output that waits for a slow client. When it is full the process is slowed down.
pub(crate) const BUFFER_MAX: usize = 1 << 20;

/// A client that takes nothing for so long is dropped, so that the process goes on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A pager may stand still for a while after the process has ended; only this shim's little memory waits for it.
const FAREWELL: Duration = Duration::from_secs(3600);

/// A client that connects knows what it wants.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A request names an exec at most.
const REQUEST_MAX: usize = 4 << 10;

/// Bytes of input that are taken at a time.
const READ_MAX: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Attacher {
    descriptor: OwnedFd,
    kind: Kind,
    /// The other end of a fifo for input: it does not end while this is open.
    held: Option<OwnedFd>,
    phase: Phase,
    /// More input may come.
    is_reading: bool,
    output: Vec<u8>,
    written: usize,
    last_progress: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// On the attach socket.
    Client,
    /// A fifo or file: it cannot hang up, and its process waits for it.
    File,
}

#[derive(Debug)]
enum Phase {
    /// The beginning of a request.
    Asking(Vec<u8>),
    Attached(AttachRequest),
    Finishing,
    Gone,
}

/// What an attacher said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// It wants this, and typed that already: answer with [`Attacher::accept`] or [`Attacher::refuse`].
    Asked(AttachRequest, Vec<u8>),
    Typed(Vec<u8>),
    /// Its input has ended.
    Ended,
}

impl Attacher {
    /// A client that has just connected.
    pub(crate) fn client(stream: UnixStream) -> io::Result<Attacher> {
        stream.set_nonblocking(true)?;
        Ok(Attacher::new(stream.into(), Kind::Client, Phase::Asking(Vec::new()), true))
    }

    /// A fifo or file that containerd's client named, open and non-blocking. `held` keeps a fifo for input from ending.
    pub(crate) fn file(descriptor: OwnedFd, held: Option<OwnedFd>, request: AttachRequest) -> Attacher {
        let is_reading = request.stdin;
        let attacher = Attacher::new(descriptor, Kind::File, Phase::Attached(request), is_reading);
        Attacher { held, ..attacher }
    }

    /// Lets its input end when nobody else writes any more; whether there was something to let go of.
    pub(crate) fn let_end(&mut self) -> bool {
        self.held.take().is_some()
    }

    fn new(descriptor: OwnedFd, kind: Kind, phase: Phase, is_reading: bool) -> Attacher {
        let last_progress = Instant::now();
        Attacher {
            descriptor,
            kind,
            held: None,
            phase,
            is_reading,
            output: Vec::new(),
            written: 0,
            last_progress,
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// What it is attached to.
    pub(crate) fn request(&self) -> Option<&AttachRequest> {
        match &self.phase {
            Phase::Attached(request) => Some(request),
            _ => None,
        }
    }

    pub(crate) fn is_on(&self, exec: &str) -> bool {
        self.request().is_some_and(|request| request.exec_id == exec)
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// It has nothing to wait for but its own buffer.
    pub(crate) fn is_finishing(&self) -> bool {
        matches!(self.phase, Phase::Finishing)
    }

    /// Whether it takes more output.
    pub(crate) fn has_room(&self) -> bool {
        self.pending() < BUFFER_MAX
    }

    /// What to wait for; `may_type`: its process takes more input. `None`: nothing can come of it now.
    pub(crate) fn interest(&self, may_type: bool) -> Option<PollFlags> {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.is_reading && may_type);
        interest.set(PollFlags::OUT, self.pending() > 0);
        // Only that a client hangs up matters when nothing is to be read or written.
        let hang_up_matters = self.kind == Kind::Client && !self.is_reading;
        (!interest.is_empty() || hang_up_matters).then_some(interest)
    }

    /// When it is given up if nothing moves until then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let patience = match (&self.phase, self.kind) {
            (Phase::Asking(_), _) => ASK_TIMEOUT,
            (Phase::Attached(_), Kind::Client) if !self.has_room() => PATIENCE,
            (Phase::Finishing, Kind::Client) => FAREWELL,
            (Phase::Finishing, Kind::File) => PATIENCE,
            (Phase::Attached(_) | Phase::Gone, _) => return None,
        };
        Some(self.last_progress + patience)
    }

    /// Gives it up if its time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.leave();
        }
    }

    /// Takes what is ready: at most one read.
    pub(crate) fn hear(&mut self, ready: PollFlags) -> Said {
        if self.is_reading && ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return self.read();
        }
        if !self.is_reading && ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.leave();
        }
        Said::Nothing
    }

    fn read(&mut self) -> Said {
        let mut buffer = [0; READ_MAX];
        match rustix::io::read(&self.descriptor, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => Said::Nothing,
            Ok(length @ 1..) => match &mut self.phase {
                Phase::Asking(asked) => {
                    asked.extend_from_slice(&buffer[..length]);
                    self.parse()
                }
                Phase::Attached(_) => Said::Typed(buffer[..length].to_vec()),
                Phase::Finishing | Phase::Gone => Said::Nothing,
            },
            Ok(_) | Err(_) => {
                self.is_reading = false;
                // Who leaves before asking is gone.
                if let Phase::Asking(_) = self.phase {
                    self.leave();
                }
                Said::Ended
            }
        }
    }

    fn parse(&mut self) -> Said {
        let Phase::Asking(asked) = &mut self.phase else { return Said::Nothing };
        let Some((head, rest)) = asked.split_first_chunk::<4>() else { return Said::Nothing };
        let length = u32::from_le_bytes(*head) as usize;
        if length > REQUEST_MAX {
            self.leave();
            return Said::Nothing;
        }
        let Some((message, typed)) = rest.split_at_checked(length) else { return Said::Nothing };
        match AttachRequest::decode(message) {
            Ok(request) => Said::Asked(request, typed.to_vec()),
            Err(_) => {
                self.leave();
                Said::Nothing
            }
        }
    }

    /// It is attached from now on.
    pub(crate) fn accept(&mut self, request: AttachRequest, tty: bool) {
        self.phase = Phase::Attached(request);
        self.answer(&AttachResponse { error: String::new(), tty });
    }

    /// It is not.
    pub(crate) fn refuse(&mut self, why: String) {
        self.answer(&AttachResponse { error: why, tty: false });
        self.finish();
    }

    fn answer(&mut self, response: &AttachResponse) {
        let bytes = response.encode_to_vec();
        let length = u32::try_from(bytes.len()).expect("an answer is one line");
        self.output.extend_from_slice(&length.to_le_bytes());
        self.output.extend_from_slice(&bytes);
        self.last_progress = Instant::now();
        self.write();
    }

    /// Queues output for it, if it asked for that stream. A terminal has one stream.
    pub(crate) fn give(&mut self, source: Source, bytes: &[u8], is_terminal: bool) {
        let wants = self.request().is_some_and(|request| match source {
            _ if is_terminal => request.stdout || request.stderr,
            Source::Stdout => request.stdout,
            Source::Stderr => request.stderr,
        });
        if !wants {
            return;
        }
        if self.pending() == 0 {
            self.last_progress = Instant::now();
        }
        // One that is always a little behind never empties it.
        if self.written > BUFFER_MAX / 2 {
            drop(self.output.drain(..std::mem::take(&mut self.written)));
        }
        if self.kind == Kind::Client && !is_terminal {
            let length = u32::try_from(bytes.len()).expect("a read is bounded");
            self.output.extend_from_slice(&[source.number(), 0, 0, 0]);
            self.output.extend_from_slice(&length.to_be_bytes());
        }
        self.output.extend_from_slice(bytes);
    }

    /// The output has ended: what waits is written, then it is let go.
    pub(crate) fn finish(&mut self) {
        if !self.is_gone() {
            self.phase = Phase::Finishing;
            self.is_reading = false;
            self.last_progress = Instant::now();
            self.write();
        }
    }

    /// Writes what it takes.
    pub(crate) fn write(&mut self) {
        while self.pending() > 0 {
            match rustix::io::write(&self.descriptor, &self.output[self.written..]) {
                Ok(length) => {
                    self.written += length;
                    self.last_progress = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.leave(),
            }
        }
        self.output.clear();
        // What a burst needed is not kept for ever.
        self.output.shrink_to(READ_MAX);
        self.written = 0;
        if let Phase::Finishing = self.phase {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.phase = Phase::Gone;
        self.is_reading = false;
        self.output = Vec::new();
        self.written = 0;
    }

    fn pending(&self) -> usize {
        self.output.len() - self.written
    }
}

/// Output that is kept for the first attacher, which is going to come.
#[derive(Debug)]
pub(crate) struct Kept {
    /// One block, however small the pieces are: it goes back to the kernel as a whole.
    bytes: Vec<u8>,
    /// Where they are from, and how many.
    pieces: Vec<(Source, usize)>,
    until: Instant,
}

impl Kept {
    pub(crate) fn new() -> Kept {
        Kept { bytes: Vec::new(), pieces: Vec::new(), until: Instant::now() + PATIENCE }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() + size_of_val(self.pieces.as_slice()) < BUFFER_MAX
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.until
    }

    pub(crate) fn give(&mut self, source: Source, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some((last, length)) if *last == source => *length += bytes.len(),
            _ => self.pieces.push((source, bytes.len())),
        }
    }

    /// Hands everything over.
    pub(crate) fn pass_to(self, attacher: &mut Attacher, is_terminal: bool) {
        let mut rest = self.bytes.as_slice();
        for (source, length) in self.pieces {
            let (piece, behind) = rest.split_at(length);
            attacher.give(source, piece, is_terminal);
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_client_that_is_always_a_little_behind_costs_no_more_than_its_buffer() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut attacher = Attacher::client(ours).unwrap();
        let request = AttachRequest { stdout: true, ..AttachRequest::default() };
        attacher.accept(request, false);
        let mut piece = vec![0; 32 << 10];
        for _ in 0..1000 {
            while attacher.has_room() {
                attacher.give(Source::Stdout, &piece, false);
            }
            attacher.write();
            theirs.read_exact(&mut piece).unwrap();
            attacher.write();
            assert!(attacher.pending() > 0, "it is behind");
        }
        assert!(attacher.output.capacity() <= 3 * BUFFER_MAX, "{} bytes", attacher.output.capacity());
    }
}
