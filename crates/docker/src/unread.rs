//! A request whose body is read, even when nobody wants it.
//!
//! A door that answers and closes while a client still writes makes the client report a broken pipe instead of the answer. So the
//! rest of a body that a handler left is read and thrown away, within bounds, and the connection lives on.

use std::ops::{Deref, DerefMut};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::call::{BODY_TIMEOUT, MAX_JSON_BYTES};

/// A request; what is left of its body is read when this is dropped.
#[derive(Debug)]
pub(crate) struct Unread(Option<Request<Incoming>>);

impl Unread {
    pub(crate) fn new(request: Request<Incoming>) -> Unread {
        Unread(Some(request))
    }

    /// The request; its body is the caller's from now on.
    pub(crate) fn take(mut self) -> Request<Incoming> {
        self.0.take().expect("it is taken once, by value")
    }
}

impl Deref for Unread {
    type Target = Request<Incoming>;

    fn deref(&self) -> &Request<Incoming> {
        self.0.as_ref().expect("it is taken by value")
    }
}

impl DerefMut for Unread {
    fn deref_mut(&mut self) -> &mut Request<Incoming> {
        self.0.as_mut().expect("it is taken by value")
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(request) = self.0.take()
            && !request.body().is_end_stream()
        {
            tokio::spawn(timeout(BODY_TIMEOUT, read_rest(request.into_body())));
        }
    }
}

/// Who sends more than any JSON has does not stop by itself: the connection is cut there.
async fn read_rest(mut body: Incoming) {
    let mut left = MAX_JSON_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
