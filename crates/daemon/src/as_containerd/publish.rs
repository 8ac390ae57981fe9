//! `containerd publish`: an event on standard input, to the daemon. Shims that cannot speak to a daemon run it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::EVENTS_SERVICE;
use api::forward::ForwardRequest;
use api::time::timestamp;
use api::ttrpc::{FrameDecoder, PAYLOAD_LENGTH_MAX, Request, encode_request};
use api::types::Envelope;
use prost::Message as _;
use prost_types::Any;

/// A daemon that does not answer so long will not.
const PATIENCE: Duration = Duration::from_secs(10);

const READ_BUFFER_BYTES: usize = 4096;

/// Publishes the event on standard input at the daemon of containerd's API at `address`.
///
/// # Errors
/// What is wrong with the event, or what the daemon says.
pub(super) fn publish(address: &Path, namespace: &str, topic: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(PAYLOAD_LENGTH_MAX as u64).read_to_end(&mut bytes)?;
    let event = Any::decode(bytes.as_slice())
        .map_err(|error| io::Error::other(format!("standard input is no event: {error}")))?;
    let envelope = Envelope {
        timestamp: Some(timestamp(store::now_ns())),
        namespace: namespace.to_owned(),
        topic: topic.to_owned(),
        event: Some(event),
    };
    let request = Request::new(EVENTS_SERVICE, "Forward", &ForwardRequest { envelope: Some(envelope) });
    ask(&engine::runtimes::ttrpc_address(address), &request)
}

fn ask(path: &Path, request: &Request) -> io::Result<()> {
    let connected = UnixStream::connect(path);
    let mut stream =
        connected.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&encode_request(1, request).map_err(io::Error::other)?)?;
    let (mut decoder, mut buffer) = (FrameDecoder::new(), [0; READ_BUFFER_BYTES]);
    loop {
        if let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            let response = frame.response().map_err(io::Error::other)?;
            let answer = response.into_result::<()>().map_err(io::Error::other)?;
            return answer.map_err(|status| io::Error::other(status.message));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => decoder.push(&buffer[..length]),
        }
    }
}
