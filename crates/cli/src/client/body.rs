//! The bodies of requests: nothing, JSON, or a file that a thread reads while the connection writes.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use hyper::body::{Body as HyperBody, Bytes, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

/// What is read of a file at a time.
const CHUNK: usize = 256 * 1024;

/// Chunks that wait for the connection; more would only fill the memory.
const CHUNKS_WAITING: usize = 4;

/// The body of a request.
#[derive(Debug)]
pub(crate) enum Body {
    Whole { bytes: Option<Bytes>, content_type: Option<&'static str> },
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body::Whole { bytes: None, content_type: None }
    }

    pub(crate) fn json(value: &impl Serialize) -> Body {
        let bytes = serde_json::to_vec(value).expect("the API's types have string keys and no failing impls");
        Body::Whole { bytes: Some(bytes.into()), content_type: Some("application/json") }
    }

    /// Streams what `input` gives; `seen` is told after each chunk how many bytes were taken.
    pub(crate) fn reading(
        mut input: impl Read + Send + 'static,
        mut seen: impl FnMut(u64) + Send + 'static,
    ) -> Body {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        thread::spawn(move || {
            let mut total = 0;
            loop {
                let mut chunk = vec![0; CHUNK];
                let sent = match input.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) => {
                        chunk.truncate(count);
                        total += count as u64;
                        sender.blocking_send(Ok(chunk.into()))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return drop(sender.blocking_send(Err(error))),
                };
                // The connection is gone: whoever waits for the answer hears why.
                if sent.is_err() {
                    return;
                }
                seen(total);
            }
        });
        Body::Stream(receiver)
    }

    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self {
            Body::Whole { content_type, .. } => *content_type,
            Body::Stream(_) => Some("application/x-tar"),
        }
    }
}

impl HyperBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Body::Whole { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(receiver) => receiver.poll_recv(context).map(|chunk| Some(chunk?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole { bytes: None, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
