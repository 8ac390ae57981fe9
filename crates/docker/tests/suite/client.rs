//! HTTP by hand, so that a test can also be wrong by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, with its body as it was meant (chunks put together).
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

/// A connection whose answer's head was read; the rest is the test's.
pub(crate) struct Open {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) reader: BufReader<UnixStream>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Sends the request and reads the head of its answer.
pub(crate) fn open(socket: &Path, request: &[u8]) -> Open {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A door that refuses early may stop reading before all is written.
    drop(stream.write_all(request));
    Open::of(stream)
}

/// Sends the request and reads its whole answer.
pub(crate) fn send(socket: &Path, request: &[u8]) -> Answer {
    open(socket, request).finish()
}

/// A request with a JSON body, or with none.
pub(crate) fn request(method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
    let (kind, body) = match body {
        Some(body) => ("Content-Type: application/json\r\n", body.to_string()),
        None => ("", String::new()),
    };
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Text as a part of a query.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A request that takes its connection over.
pub(crate) fn upgrade(path: &str, body: Option<&Value>) -> Vec<u8> {
    let plain = String::from_utf8(request("POST", path, body)).unwrap();
    plain.replacen("Connection: close", "Connection: Upgrade\r\nUpgrade: tcp", 1).into_bytes()
}

impl Open {
    /// Reads the head of an answer.
    pub(crate) fn of(stream: UnixStream) -> Open {
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader);
        Open { status: status(&head), head, reader }
    }

    /// The rest of the answer.
    pub(crate) fn finish(mut self) -> Answer {
        let length = header(&self.head, "content-length").map(|length| length.parse().unwrap());
        let mut body = Vec::new();
        match length {
            _ if matches!(self.status, 101 | 204 | 304) => {}
            Some(length) => {
                body.resize(length, 0);
                self.reader.read_exact(&mut body).unwrap();
            }
            None if header(&self.head, "transfer-encoding") == Some("chunked") => {
                while let Some(chunk) = self.chunk() {
                    body.extend(chunk);
                }
            }
            None => drop(self.reader.read_to_end(&mut body).unwrap()),
        }
        Answer { status: self.status, head: self.head, body }
    }

    /// The next piece of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.reader.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Reads until the text has come.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut byte = [0];
            let length = self.reader.read(&mut byte).unwrap();
            assert_eq!(length, 1, "ended before {text:?}: {:?}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }
}

pub(crate) fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the connection ended in the head: {head:?}");
    }
    head
}

/// Stream number and text of each frame, neighbours of the same stream put together.
pub(crate) fn unframe(mut bytes: &[u8]) -> Vec<(u8, String)> {
    let mut frames: Vec<(u8, String)> = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        assert_eq!(header[1..4], [0; 3]);
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let text = String::from_utf8(rest[..length].to_vec()).unwrap();
        match frames.last_mut() {
            Some((stream, last)) if *stream == header[0] => last.push_str(&text),
            _ => frames.push((header[0], text)),
        }
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
