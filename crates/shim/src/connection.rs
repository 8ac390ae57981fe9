//! A ttrpc connection: frames in, answers out.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use api::ttrpc::{FrameDecoder, Kind, Request, Response, encode_response};

/// What is read at a time.
const READ_MAX: usize = 16 << 10;

/// Answers that wait for a client which does not read; more end the connection.
const OUTPUT_MAX: usize = 8 << 20;

/// One client.
#[derive(Debug)]
pub struct Connection {
    pub stream: UnixStream,
    decoder: FrameDecoder,
    output: Vec<u8>,
    is_gone: bool,
}

/// A call and the stream that its answer belongs to.
#[derive(Debug)]
pub struct Call {
    pub stream: u32,
    pub request: Request,
}

impl Connection {
    /// A client that has just connected.
    pub fn new(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, decoder: FrameDecoder::new(), output: Vec::new(), is_gone: false })
    }

    /// Whether answers wait for it.
    pub fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether it can be forgotten.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Reads once; the calls that are complete, in order.
    pub fn read(&mut self) -> Vec<Call> {
        let mut buffer = [0; READ_MAX];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_gone = true,
            Ok(length) => self.decoder.push(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.is_gone = true,
        }
        let mut calls = Vec::new();
        loop {
            let call = match self.decoder.next_frame() {
                Ok(None) => return calls,
                Ok(Some(frame)) if frame.kind == Kind::Request => {
                    frame.request().map(|request| Call { stream: frame.stream, request })
                }
                // Streaming calls belong to no service of ours.
                Ok(Some(_)) => continue,
                Err(error) => Err(error),
            };
            match call {
                Ok(call) => calls.push(call),
                Err(error) => {
                    // After a malformed frame nothing tells where the next one begins.
                    eprintln!("a client sent no ttrpc: {error}");
                    self.is_gone = true;
                    return calls;
                }
            }
        }
    }

    /// Answers a call.
    pub fn answer(&mut self, stream: u32, response: &Response) {
        self.output.extend_from_slice(&encode_response(stream, response));
        self.is_gone |= self.output.len() > OUTPUT_MAX;
    }

    /// Writes what the client takes.
    pub fn write(&mut self) {
        while !self.output.is_empty() && !self.is_gone {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
    }
}
