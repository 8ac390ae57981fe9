//! Where shims say what happens: `containerd.services.events.ttrpc.v1.Events/Forward` on a socket of its own.

use std::sync::Arc;

use api::EVENTS_SERVICE;
use api::code::Code;
use api::forward::ForwardRequest;
use api::time::of_timestamp;
use api::ttrpc::{FrameDecoder, Request, Response, encode_response};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::clock::now_ns;
use crate::exchange::{Envelope, Exchange};

/// Events are short; a longer one takes more reads.
const READ_BUFFER_BYTES: usize = 4096;

/// Serves for ever. Only processes of the daemon's own user are listened to.
pub async fn serve(listener: UnixListener, exchange: Arc<Exchange>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let own = rustix::process::geteuid().as_raw();
        if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) {
            tokio::spawn(talk(stream, exchange.clone()));
        }
    }
}

async fn talk(mut stream: UnixStream, exchange: Arc<Exchange>) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = [0; READ_BUFFER_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        decoder.push(&buffer[..length]);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            let Ok(request) = frame.request() else { return };
            let answer = encode_response(frame.stream, &answer(&request, &exchange));
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn answer(request: &Request, exchange: &Exchange) -> Response {
    if request.service != EVENTS_SERVICE || request.method != "Forward" {
        return Response::failure(Code::Unimplemented, format!("{}/{}", request.service, request.method));
    }
    let envelope = match ForwardRequest::decode(request.payload.as_slice()) {
        Ok(ForwardRequest { envelope: Some(envelope) }) => envelope,
        Ok(_) => return Response::failure(Code::InvalidArgument, "an envelope is missing"),
        Err(error) => return Response::failure(Code::InvalidArgument, error.to_string()),
    };
    let envelope = Envelope {
        timestamp_ns: envelope.timestamp.as_ref().map_or_else(now_ns, of_timestamp),
        namespace: envelope.namespace,
        topic: envelope.topic,
        event: envelope.event.unwrap_or_default(),
    };
    match exchange.forward(envelope) {
        Ok(()) => Response::success(&()),
        Err(error) => Response::failure(error.code(), error.chain()),
    }
}
