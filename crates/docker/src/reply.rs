//! Answers: their bodies and headers.

use std::convert::Infallible;
use std::io;

use api::docker::ErrorBody;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::error::Error;

/// Its error breaks the connection: the body has no end then.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Reply = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One JSON value, ended by a newline as Go's encoder does.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    with_type(status, JSON, whole(line(value)))
}

/// `200 OK` and one JSON value.
pub(crate) fn ok<T: Serialize>(value: &T) -> Reply {
    json(StatusCode::OK, value)
}

/// A status alone.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Empty::new().map_err(never).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

/// Plain text.
pub(crate) fn text(body: impl Into<Bytes>) -> Reply {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    with_type(StatusCode::OK, kind, whole(body.into()))
}

/// A body that is made while it is read: the reader's pace is the maker's. The status and headers go out at once.
pub(crate) fn stream(kind: HeaderValue, chunks: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
    fallible_stream(kind, chunks.map(Ok))
}

/// The same of a body that may break off.
pub(crate) fn fallible_stream(
    kind: HeaderValue,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Reply {
    let frames = chunks.map(|chunk| chunk.map(Frame::data));
    with_type(StatusCode::OK, kind, StreamBody::new(frames).boxed_unsync())
}

/// A stream of JSON values.
pub(crate) fn json_stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Reply {
    stream(JSON, chunks)
}

/// One JSON value and a newline.
pub(crate) fn line<T: Serialize>(value: &T) -> Bytes {
    let mut text =
        serde_json::to_vec(value).expect("the API's types have string keys and no failing serializer");
    text.push(b'\n');
    text.into()
}

/// The error body.
pub(crate) fn error(error: &Error) -> Reply {
    // Clients of that age read no JSON here.
    if let Error::VersionTooOld(_) = error {
        let mut reply = text(error.to_string());
        *reply.status_mut() = error.status();
        return reply;
    }
    json(error.status(), &ErrorBody { message: error.to_string() })
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(never).boxed_unsync()
}

fn never(error: Infallible) -> io::Error {
    match error {}
}

fn with_type(status: StatusCode, kind: HeaderValue, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}
