//! ttrpc without I/O: frames, and the request and response inside them
//! (<https://github.com/containerd/ttrpc/blob/main/PROTOCOL.md>).
//!
//! ```text
//! length u32 BE | stream u32 BE | kind u8 | flags u8 | payload (length bytes, at most 4 MiB)
//! ```
//!
//! A client opens odd streams, one per call, and may have many open: answers come in any order. Streaming calls
//! (data frames) belong to no service that we speak; the decoder hands them out and the caller refuses them.
//! The decoder holds at most one frame and what one `push` brought, whatever a peer sends.

use prost::Message;
use prost_types::Any;

use crate::code::Code;

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 10;
/// Where a frame's stream stands in its header.
const STREAM_AT: usize = 4;
/// The protocol's bound of one payload. A longer one ends the connection: it is hostile or not ttrpc.
pub const PAYLOAD_LENGTH_MAX: usize = 4 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Data,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub stream: u32,
    pub kind: Kind,
    pub flags: u8,
    pub payload: Vec<u8>,
}

/// A call.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    /// How long the caller waits; 0: for ever.
    #[prost(int64, tag = "4")]
    pub timeout_ns: i64,
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

/// One header of a call, as `containerd-namespace-ttrpc`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// An answer. No status, or one with code 0, is success.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// Why bytes are no ttrpc, or a message cannot become a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a payload of {length} bytes exceeds the protocol's {PAYLOAD_LENGTH_MAX}")]
    TooLong { length: usize },
    #[error("unknown kind of frame {0:#04x}")]
    UnknownKind(u8),
    #[error("expected a {expected:?} frame, found {found:?}")]
    UnexpectedKind { expected: Kind, found: Kind },
    #[error("malformed message")]
    Malformed(#[from] prost::DecodeError),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::TooLong { .. } => Code::ResourceExhausted,
            Error::UnknownKind(_) | Error::UnexpectedKind { .. } | Error::Malformed(_) => {
                Code::InvalidArgument
            }
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Request => 1,
            Kind::Response => 2,
            Kind::Data => 3,
        }
    }

    fn from_number(number: u8) -> Result<Kind> {
        match number {
            1 => Ok(Kind::Request),
            2 => Ok(Kind::Response),
            3 => Ok(Kind::Data),
            other => Err(Error::UnknownKind(other)),
        }
    }
}

impl Request {
    /// A call without deadline.
    pub fn new(service: &str, method: &str, message: &impl Message) -> Request {
        Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            ..Request::default()
        }
    }
}

impl Response {
    /// An answer that carries a message.
    pub fn success(message: &impl Message) -> Response {
        Response { status: None, payload: message.encode_to_vec() }
    }

    /// An answer that says why there is none.
    pub fn failure(code: Code, message: impl Into<String>) -> Response {
        let status = Status { code: code.grpc(), message: message.into(), details: Vec::new() };
        Response { status: Some(status), payload: Vec::new() }
    }

    /// The payload's message, or the status of a failed call.
    pub fn into_result<M: Message + Default>(self) -> Result<std::result::Result<M, Status>> {
        match self.status {
            Some(status) if status.code != 0 => Ok(Err(status)),
            _ => Ok(Ok(M::decode(self.payload.as_slice())?)),
        }
    }
}

impl Frame {
    /// The call in this frame.
    pub fn request(&self) -> Result<Request> {
        self.expect(Kind::Request)?;
        Ok(Request::decode(self.payload.as_slice())?)
    }

    /// The answer in this frame.
    pub fn response(&self) -> Result<Response> {
        self.expect(Kind::Response)?;
        Ok(Response::decode(self.payload.as_slice())?)
    }

    fn expect(&self, expected: Kind) -> Result<()> {
        match self.kind {
            found if found == expected => Ok(()),
            found => Err(Error::UnexpectedKind { expected, found }),
        }
    }
}

/// The bytes of a call.
pub fn encode_request(stream: u32, request: &Request) -> Result<Vec<u8>> {
    encode(stream, Kind::Request, request)
}

/// Gives a frame that was encoded another stream: a connection's streams are numbered in the order in which they are sent.
pub fn set_stream(frame: &mut [u8], stream: u32) {
    frame[STREAM_AT..STREAM_AT + 4].copy_from_slice(&stream.to_be_bytes());
}

/// The bytes of an answer. One that is too long becomes a failure that says so: the caller must hear something.
pub fn encode_response(stream: u32, response: &Response) -> Vec<u8> {
    encode(stream, Kind::Response, response).unwrap_or_else(|error| {
        let failure = Response::failure(error.code(), error.to_string());
        encode(stream, Kind::Response, &failure).expect("a one-line failure fits into a frame")
    })
}

fn encode(stream: u32, kind: Kind, message: &impl Message) -> Result<Vec<u8>> {
    let length = message.encoded_len();
    let short = u32::try_from(length).ok().filter(|_| length <= PAYLOAD_LENGTH_MAX);
    let short = short.ok_or(Error::TooLong { length })?;
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + length);
    bytes.extend_from_slice(&short.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&[kind.number(), 0]);
    message.encode(&mut bytes).expect("a vector grows as needed");
    Ok(bytes)
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have become frames already.
    consumed: usize,
}

impl FrameDecoder {
    /// A decoder that has seen nothing.
    pub fn new() -> FrameDecoder {
        FrameDecoder::default()
    }

    /// Adds what a read brought. Take all frames out with [`FrameDecoder::next_frame`] before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed. After an error the stream is lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let bytes = &self.buffer[self.consumed..];
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LENGTH>() else {
            self.settle();
            return Ok(None);
        };
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, flags] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > PAYLOAD_LENGTH_MAX {
            return Err(Error::TooLong { length });
        }
        let kind = Kind::from_number(kind)?;
        let Some(payload) = rest.get(..length) else {
            self.settle();
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.consumed += HEADER_LENGTH + length;
        Ok(Some(Frame { stream: u32::from_be_bytes([s0, s1, s2, s3]), kind, flags, payload }))
    }

    /// Whether the stream may end here: false in the middle of a frame.
    pub fn is_empty(&self) -> bool {
        self.consumed == self.buffer.len()
    }

    /// Gives memory back once everything is taken: one large message must not stay for a shim's life.
    fn settle(&mut self) {
        if self.is_empty() {
            self.buffer = Vec::new();
            self.consumed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::{CreateTaskResponse, SERVICE_V3};

    fn requests() -> impl Strategy<Value = (u32, Request)> {
        let request =
            ("[a-z.]{0,20}", "[A-Z]{0,9}", prop::collection::vec(any::<u8>(), 0..300), any::<i64>());
        let request = request.prop_map(|(service, method, payload, timeout_ns)| Request {
            service,
            method,
            payload,
            timeout_ns,
            metadata: vec![KeyValue { key: "namespace".into(), value: "default".into() }],
        });
        (any::<u32>(), request)
    }

    /// Feeds `bytes` in pieces of `step`.
    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Frame>> {
        let mut decoder = FrameDecoder::new();
        let mut frames = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            calls in prop::collection::vec(requests(), 1..5),
            step in 1_usize..700,
        ) {
            let bytes: Vec<u8> = calls.iter().flat_map(|(s, r)| encode_request(*s, r).unwrap()).collect();
            let frames = decode(&bytes, step).unwrap();
            let decoded: Vec<_> = frames.iter().map(|f| (f.stream, f.request().unwrap())).collect();
            prop_assert_eq!(decoded, calls);
        }

        #[test]
        fn a_truncated_frame_is_never_handed_out((stream, request) in requests(), keep in 0.0_f64..1.0) {
            let bytes = encode_request(stream, &request).unwrap();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let cut = (bytes.len() as f64 * keep) as usize;
            prop_assert_eq!(decode(&bytes[..cut], 64).unwrap(), vec![]);
        }

        #[test]
        fn no_bytes_can_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for frame in decode(&bytes, 13).unwrap_or_default() {
                let _ = (frame.request(), frame.response());
            }
        }
    }

    #[test]
    fn hostile_lengths_are_refused_from_the_header_alone() {
        for length in [PAYLOAD_LENGTH_MAX as u64 + 1, u64::from(u32::MAX)] {
            let header = [&u32::try_from(length).unwrap().to_be_bytes()[..], &[0, 0, 0, 1, 1, 0]].concat();
            let mut decoder = FrameDecoder::new();
            decoder.push(&header);
            assert_eq!(
                decoder.next_frame(),
                Err(Error::TooLong { length: usize::try_from(length).unwrap() })
            );
        }
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0, 0, 0, 0, 0, 0, 0, 1, 9, 0]);
        assert_eq!(decoder.next_frame(), Err(Error::UnknownKind(9)));
    }

    #[test]
    fn the_bytes_are_the_protocols() {
        let request = Request::new(SERVICE_V3, "State", &CreateTaskResponse { pid: 0 });
        let bytes = encode_request(3, &request).unwrap();
        let length = u8::try_from(bytes.len() - HEADER_LENGTH).unwrap();
        assert_eq!(bytes[..HEADER_LENGTH], [0, 0, 0, length, 0, 0, 0, 3, 1, 0]);
        // Field 1, length-delimited, then the service's name.
        assert_eq!(bytes[10..12], [0x0a, 23]);
        assert_eq!(&bytes[12..35], SERVICE_V3.as_bytes());
    }

    #[test]
    fn messages_beyond_the_bound_are_refused_or_answered_as_exhausted() {
        let payload = vec![0; PAYLOAD_LENGTH_MAX];
        let request = Request { payload: payload.clone(), ..Request::default() };
        assert!(matches!(encode_request(1, &request), Err(Error::TooLong { .. })));
        let bytes = encode_response(1, &Response { status: None, payload });
        let frames = decode(&bytes, 4096).unwrap();
        let status = frames[0].response().unwrap().into_result::<CreateTaskResponse>().unwrap().unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted.grpc());
    }

    #[test]
    fn success_and_failure_are_told_apart() {
        let success = Response::success(&CreateTaskResponse { pid: 12 });
        assert_eq!(success.into_result(), Ok(Ok(CreateTaskResponse { pid: 12 })));
        let failure = Response::failure(Code::NotFound, "no such thing");
        let status = failure.into_result::<CreateTaskResponse>().unwrap().unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (5, "no such thing"));
    }

    #[test]
    fn a_large_message_does_not_keep_its_memory() {
        let request = Request { payload: vec![0; 1 << 20], ..Request::default() };
        let mut decoder = FrameDecoder::new();
        decoder.push(&encode_request(1, &request).unwrap());
        assert!(decoder.next_frame().unwrap().is_some());
        assert!(decoder.next_frame().unwrap().is_none());
        assert_eq!(decoder.buffer.capacity(), 0);
    }
}
