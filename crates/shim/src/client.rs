//! The other side, blocking: for tests and simple tools. The engine has an asynchronous one of its own.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::code::Code;
use api::shim::{AttachRequest, AttachResponse};
use api::ttrpc::{FrameDecoder, Request, Response, encode_request};
use prost::Message;

/// What is read at a time.
const READ_MAX: usize = 16 << 10;

/// An answer to an attach is one line.
const ATTACH_RESPONSE_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the shim is gone")]
    Gone(#[from] io::Error),
    #[error("the shim sends no ttrpc")]
    Protocol(#[from] api::ttrpc::Error),
    #[error("malformed answer")]
    Malformed(#[from] prost::DecodeError),
    #[error("{message}")]
    Refused { code: Code, message: String },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Gone(_) => Code::Unavailable,
            Error::Protocol(error) => error.code(),
            Error::Malformed(_) => Code::Internal,
            Error::Refused { code, .. } => *code,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A connection to a shim's task socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: FrameDecoder,
    next: u32,
    answers: HashMap<u32, Response>,
}

/// A call that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending(u32);

impl Client {
    /// Connects to the socket of a shim.
    pub fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket)?;
        Ok(Client { stream, decoder: FrameDecoder::new(), next: 1, answers: HashMap::new() })
    }

    /// How long an answer may take; none: for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        Ok(self.stream.set_read_timeout(timeout)?)
    }

    /// Sends a call and waits for its answer.
    pub fn call<M: Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Result<M> {
        let pending = self.send(service, method, message)?;
        self.receive(pending)
    }

    /// Sends a call; any number may be on their way.
    pub fn send(&mut self, service: &str, method: &str, message: &impl Message) -> Result<Pending> {
        let stream = self.next;
        // Clients use odd numbers.
        self.next = self.next.wrapping_add(2);
        self.stream.write_all(&encode_request(stream, &Request::new(service, method, message))?)?;
        Ok(Pending(stream))
    }

    /// Waits for the answer to one call; others are kept for whoever asks for them.
    pub fn receive<M: Message + Default>(&mut self, pending: Pending) -> Result<M> {
        let mut buffer = [0; READ_MAX];
        let response = loop {
            if let Some(response) = self.answers.remove(&pending.0) {
                break response;
            }
            if let Some(frame) = self.decoder.next_frame()? {
                self.answers.insert(frame.stream, frame.response()?);
                continue;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Error::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.decoder.push(&buffer[..length]),
                // A socket with a timeout is interrupted by a stop without any handler: signal(7).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        response
            .into_result()?
            .map_err(|status| Error::Refused { code: Code::from_grpc(status.code), message: status.message })
    }
}

/// Attaches to a process: the stream that its bytes come from and go to, and whether it has a terminal.
pub fn attach(socket: &Path, request: &AttachRequest) -> Result<(UnixStream, bool)> {
    let mut stream = UnixStream::connect(socket)?;
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_le_bytes()[..], &message].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > ATTACH_RESPONSE_MAX {
        return Err(Error::Gone(io::ErrorKind::InvalidData.into()));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    let response = AttachResponse::decode(message.as_slice())?;
    if response.error.is_empty() {
        Ok((stream, response.tty))
    } else {
        Err(Error::Refused { code: Code::FailedPrecondition, message: response.error })
    }
}
