//! A ttrpc connection: frames in, answers out.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use api::ttrpc::{FrameDecoder, Kind, Request, Response, encode_response};
use rustix::event::PollFlags;

/// What is read at a time.
const READ_MAX: usize = 16 << 10;

/// Answers that wait for a client which does not read; more end the connection.
const OUTPUT_MAX: usize = 8 << 20;

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    decoder: FrameDecoder,
    output: Vec<u8>,
    is_gone: bool,
}

/// A call and the stream that its answer belongs to.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) stream: u32,
    pub(crate) request: Request,
}

impl Connection {
    /// A client that has just connected.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, decoder: FrameDecoder::new(), output: Vec::new(), is_gone: false })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Whether it can be forgotten.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Reads once if something is there; the calls that are complete, in order.
    pub(crate) fn read(&mut self, ready: PollFlags) -> Vec<Call> {
        if ready == PollFlags::OUT {
            return Vec::new();
        }
        let mut buffer = [0; READ_MAX];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_gone = true,
            Ok(length) => self.decoder.push(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.is_gone = true,
        }
        let mut calls = Vec::new();
        loop {
            match self.next_call() {
                Ok(Some(call)) => calls.push(call),
                Ok(None) => return calls,
                Err(error) => {
                    // Nothing tells where the next frame begins.
                    eprintln!("a client sent no ttrpc: {error}");
                    self.is_gone = true;
                    return calls;
                }
            }
        }
    }

    fn next_call(&mut self) -> api::ttrpc::Result<Option<Call>> {
        while let Some(frame) = self.decoder.next_frame()? {
            // Streaming calls belong to no service of ours, and clients answer nothing.
            if frame.kind == Kind::Request {
                return Ok(Some(Call { stream: frame.stream, request: frame.request()? }));
            }
        }
        Ok(None)
    }

    /// Queues the answer to a call.
    pub(crate) fn answer(&mut self, stream: u32, response: &Response) {
        self.output.extend_from_slice(&encode_response(stream, response));
        self.is_gone |= self.output.len() > OUTPUT_MAX;
    }

    /// Writes what the client takes.
    pub(crate) fn write(&mut self) {
        while !self.output.is_empty() && !self.is_gone {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
        self.output.shrink_to(0);
    }
}
