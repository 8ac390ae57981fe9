//! Answers: JSON, streams, and Docker's errors.

use std::convert::Infallible;

use api::docker::ErrorBody;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a handler gives.
pub(crate) type Answer = Result<Response<Body>, Failure>;

/// Chunks of a stream that wait for a slow client; then the producer waits.
const STREAM_QUEUE: usize = 16;

/// A failed request: a status and a line for the person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    /// The request is wrong.
    pub(crate) fn bad(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    /// The request is right, and asks for what is not built.
    pub(crate) fn not_there_yet(what: &str) -> Failure {
        Failure::new(StatusCode::NOT_IMPLEMENTED, format!("{what}: this is not there yet"))
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        json(self.status, &ErrorBody { message: self.message })
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        let status = match error.exit_code() {
            // Docker's status for an entrypoint that cannot be executed; its clients look at the text.
            Some(_) => StatusCode::BAD_REQUEST,
            None => StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        Failure::new(status, error.chain())
    }
}

/// An answer with a JSON document, ended by a newline as Go's encoder does.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut text = serde_json::to_vec(value).expect("wire types are always JSON");
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    set_type(&mut response, "application/json");
    response
}

/// The document with status 200.
pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// No document.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Done, or there was nothing to do: 204 or 304.
pub(crate) fn done(changed: bool) -> Answer {
    Ok(empty(if changed { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }))
}

/// A short text.
pub(crate) fn text(value: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(value.as_bytes())).boxed_unsync());
    set_type(&mut response, "text/plain; charset=utf-8");
    response
}

/// An answer whose body comes piece by piece through the sender. It ends when the sender is dropped; when the client has gone,
/// sending fails.
pub(crate) fn stream(content_type: &'static str) -> (mpsc::Sender<Bytes>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    set_type(&mut response, content_type);
    (sender, response)
}

pub(crate) fn set_type(response: &mut Response<Body>, content_type: &'static str) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// One line of a JSON stream.
pub(crate) fn line<T: Serialize>(value: &T) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("wire types are always JSON");
    text.extend_from_slice(b"\r\n");
    Bytes::from(text)
}
