//! WebSockets (RFC 6455), as far as an attach needs them: one stream of bytes each way, in messages of any size.
//!
//! What a client sends is masked and may come in pieces; pings are answered, a close is answered and ends the session.
//! Docker never multiplexes here: stdout and stderr come as they are, in the order in which they were printed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// What the protocol appends to a client's key (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A client's key stands for so many bytes.
const KEY_BYTES: usize = 16;
/// The longest frame that is taken; nobody types as much at once, and who pastes more uses several.
const FRAME_MAX: usize = 1 << 20;
/// The longest payload of a ping or close (section 5.5).
const CONTROL_MAX: usize = 125;
/// What is sent in one frame.
const PIECE_BYTES: usize = 32 << 10;
/// Answers to pings that wait; a client that sends more without reading is not owed them.
const CONTROLS: usize = 8;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Status codes of a close (section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// What the process's output is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What Docker sent before version 1.28 of its API.
    Text,
    Binary,
}

/// What is sent to a client, and what it is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) kind: Kind,
    /// The session's output is in Docker's frames.
    pub(crate) are_framed: bool,
}

/// Checks a client's handshake; what is answered as `Sec-WebSocket-Accept`.
pub(crate) fn accept(headers: &HeaderMap) -> Result<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lists = |name, word: &str| text(name).split(',').any(|one| one.trim().eq_ignore_ascii_case(word));
    if !lists(UPGRADE, "websocket") || !lists(CONNECTION, "upgrade") {
        return Err(Error::invalid("not websocket protocol"));
    }
    if text(SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Error::invalid("missing or bad WebSocket Version"));
    }
    let key = text(SEC_WEBSOCKET_KEY);
    if STANDARD.decode(key).map_or(0, |key| key.len()) != KEY_BYTES {
        return Err(Error::invalid("challenge/response: a Sec-WebSocket-Key is 16 bytes in base64"));
    }
    Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

/// Passes messages between a client and the `near` end of a session.
pub(crate) async fn pass(client: impl AsyncRead + AsyncWrite, near: DuplexStream, output: Output) {
    let (from_client, to_client) = tokio::io::split(client);
    let (shown, input) = tokio::io::split(near);
    let (controls, waiting) = mpsc::channel(CONTROLS);
    let mut sending = std::pin::pin!(send(to_client, shown, waiting, output));
    let mut receiving = std::pin::pin!(receive(from_client, input, controls));
    tokio::select! {
        () = &mut sending => {}
        // The client has closed or broken off; what was to be said to that is sent.
        () = &mut receiving => sending.await,
    }
}

/// What is to be sent beside the output.
enum Control {
    Pong(Bytes),
    /// The last frame.
    Close(u16),
}

async fn receive(
    mut client: impl AsyncRead + Unpin,
    mut input: impl AsyncWrite + Unpin,
    controls: mpsc::Sender<Control>,
) {
    let mut decoder = Decoder::default();
    let code = loop {
        match decoder.next() {
            Err(code) => break code,
            Ok(Some(Message::Close)) => break NORMAL,
            // A session that takes no more input drops it.
            Ok(Some(Message::Data(data))) => drop(input.write_all(&data).await),
            Ok(Some(Message::Ping(payload))) => drop(controls.try_send(Control::Pong(payload))),
            Ok(Some(Message::Pong)) => {}
            Ok(None) => match client.read_buf(&mut decoder.buffer).await {
                Ok(1..) => {}
                // It is gone, without a word.
                _ => break NORMAL,
            },
        }
    };
    drop(input.shutdown().await);
    drop(controls.send(Control::Close(code)).await);
}

async fn send(
    mut client: impl AsyncWrite + Unpin,
    mut shown: impl AsyncRead + Unpin,
    mut controls: mpsc::Receiver<Control>,
    output: Output,
) {
    let opcode = if output.kind == Kind::Text { TEXT } else { BINARY };
    let mut strip = output.are_framed.then(Unframe::default);
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let code = loop {
        piece.clear();
        piece.reserve(PIECE_BYTES);
        let frame = tokio::select! {
            Some(control) = controls.recv() => match control {
                Control::Pong(payload) => frame(PONG, &payload),
                Control::Close(code) => break code,
            },
            read = shown.read_buf(&mut piece) => match read {
                Ok(1..) => {
                    let bytes = match &mut strip {
                        Some(strip) => strip.feed(&piece),
                        None => piece.split().freeze(),
                    };
                    if bytes.is_empty() {
                        continue;
                    }
                    frame(opcode, &bytes)
                }
                _ => break NORMAL,
            },
        };
        if client.write_all(&frame).await.and(client.flush().await).is_err() {
            return;
        }
    };
    drop(client.write_all(&frame(CLOSE, &code.to_be_bytes())).await);
    drop(client.shutdown().await);
}

/// One whole frame from us, which is never masked.
fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(payload.len() as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// A piece of its input.
    Data(Bytes),
    Ping(Bytes),
    Pong,
    Close,
}

/// Frames of a client, out of bytes.
#[derive(Debug, Default)]
struct Decoder {
    buffer: BytesMut,
    /// Whether the last data frame was not the last of its message.
    is_fragmented: bool,
}

impl Decoder {
    /// The next message that is whole; an error is the status code of the close that it deserves.
    fn next(&mut self) -> Result<Option<Message>, u16> {
        let [first, second, ..] = self.buffer[..] else { return Ok(None) };
        let (is_final, opcode, is_masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let is_control = opcode >= CLOSE;
        let short = usize::from(second & 0x7f);
        // Clients must mask, extensions were not agreed on, and control frames are short and whole.
        if first & 0x70 != 0 || !is_masked || (is_control && (!is_final || short > CONTROL_MAX)) {
            return Err(PROTOCOL_ERROR);
        }
        let Some((length, at)) = self.length(short) else { return Ok(None) };
        if length > FRAME_MAX as u64 {
            return Err(TOO_BIG);
        }
        let length = usize::try_from(length).map_err(|_| TOO_BIG)?;
        if self.buffer.len() < at + 4 + length {
            return Ok(None);
        }
        self.buffer.advance(at);
        let mask = self.buffer.split_to(4);
        let mut payload = self.buffer.split_to(length);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let payload = payload.freeze();
        match opcode {
            CONTINUATION if !self.is_fragmented => Err(PROTOCOL_ERROR),
            TEXT | BINARY if self.is_fragmented => Err(PROTOCOL_ERROR),
            CONTINUATION | TEXT | BINARY => {
                self.is_fragmented = !is_final;
                Ok(Some(Message::Data(payload)))
            }
            CLOSE => Ok(Some(Message::Close)),
            PING => Ok(Some(Message::Ping(payload))),
            PONG => Ok(Some(Message::Pong)),
            _ => Err(PROTOCOL_ERROR),
        }
    }

    /// The payload's length, and where the mask begins.
    fn length(&self, short: usize) -> Option<(u64, usize)> {
        match short {
            126 => Some((u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?).into(), 4)),
            127 => Some((u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?), 10)),
            length => Some((length as u64, 2)),
        }
    }
}

/// Takes the headers off Docker's frames, however they are cut.
#[derive(Debug, Default)]
struct Unframe {
    header: Vec<u8>,
    /// What is to come of the frame's payload.
    left: usize,
}

impl Unframe {
    fn feed(&mut self, mut bytes: &[u8]) -> Bytes {
        let mut payload = BytesMut::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left > 0 {
                let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
                payload.put_slice(piece);
                self.left -= piece.len();
                bytes = rest;
                continue;
            }
            let (piece, rest) = bytes.split_at((8 - self.header.len()).min(bytes.len()));
            self.header.extend_from_slice(piece);
            bytes = rest;
            if let Some(length) = self.header.get(4..).and_then(|length| length.first_chunk()) {
                self.left = u32::from_be_bytes(*length) as usize;
                self.header.clear();
            }
        }
        payload.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Message>, u16> {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.buffer.extend_from_slice(piece);
            while let Some(message) = decoder.next()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn the_accept_header_is_that_of_the_standards_example() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (name, value) in
            [("upgrade", "tcp"), ("sec-websocket-version", "8"), ("sec-websocket-key", "abc")]
        {
            let mut wrong = headers.clone();
            wrong.insert(name, value.parse().unwrap());
            assert!(accept(&wrong).is_err(), "{name}");
        }
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let long = vec![b'x'; 300];
        let bytes = [
            masked(0x81, b"one"),
            masked(0x02, b"tw"),
            masked(0x89, b"ping"),
            masked(0x80, b"o"),
            masked(0x82, &long),
            masked(0x8a, b""),
            masked(0x88, b"\x03\xe8"),
        ]
        .concat();
        for step in [1, 3, 1000] {
            let data = |bytes: &[u8]| Message::Data(Bytes::copy_from_slice(bytes));
            let want = [
                data(b"one"),
                data(b"tw"),
                Message::Ping(Bytes::from_static(b"ping")),
                data(b"o"),
                data(&long),
                Message::Pong,
                Message::Close,
            ];
            assert_eq!(decode(&bytes, step).unwrap(), want, "in steps of {step}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_closed_with_a_reason() {
        let too_big = [&[0x82, 0xff][..], &(FRAME_MAX as u64 + 1).to_be_bytes(), &[0; 4]].concat();
        for (bytes, code) in [
            (vec![0x81, 0x01, b'x'], PROTOCOL_ERROR),
            (masked(0xc1, b"x"), PROTOCOL_ERROR),
            (masked(0x80, b"x"), PROTOCOL_ERROR),
            ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), PROTOCOL_ERROR),
            (masked(0x09, b"x"), PROTOCOL_ERROR),
            (masked(0x89, &[0; 126]), PROTOCOL_ERROR),
            (masked(0x83, b"x"), PROTOCOL_ERROR),
            (too_big, TOO_BIG),
        ] {
            assert_eq!(decode(&bytes, 1000), Err(code), "{bytes:02x?}");
        }
    }

    #[test]
    fn headers_are_taken_off_however_they_are_cut() {
        let framed = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02tw";
        for step in 1..framed.len() {
            let mut strip = Unframe::default();
            let text: Vec<u8> = framed.chunks(step).flat_map(|piece| strip.feed(piece)).collect();
            assert_eq!(text, b"onetw");
        }
    }
}
