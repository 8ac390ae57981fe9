//! `containerd.services.streaming.v1`: streams that clients open, for other calls to name.
//!
//! A stream is known by its id from its first message on until its call ends. Another call [takes](Streams::take) it and has it
//! alone. What flows there is whatever the two agree on; [`bytes`] is how bytes do.

pub(crate) mod bytes;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use api::any;
use api::code::Code;
use futures_util::Stream;
use grpc::streaming::{StreamInit, streaming_server};
use prost_types::Any;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

use crate::{request, status};

/// Streams that may be open at one time.
const STREAMS_MAX: usize = 4096;
/// Messages that wait for a client to read them.
const WAITING_MAX: usize = 8;

type Key = (String, String);

/// The streams that are open, by namespace and id.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<Key, State>>);

#[derive(Debug)]
enum State {
    Waiting(Box<Taken>),
    Taken,
}

/// A stream that somebody works with. Dropping it ends the client's call.
#[derive(Debug)]
pub(crate) struct Taken {
    incoming: tonic::Streaming<Any>,
    outgoing: mpsc::Sender<Any>,
    /// Ends when all that was sent is on its way to the client.
    sent: oneshot::Receiver<()>,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Streaming(pub(crate) Arc<Streams>);

#[tonic::async_trait]
impl streaming_server::Streaming for Streaming {
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<tonic::Streaming<Any>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let namespace = request::namespace(&request)?;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.unwrap_or_default();
        let init = match any::unpack::<StreamInit>(&first) {
            Some(init) => init.map_err(|error| wrong(&first.type_url, &error.to_string()))?,
            None => return Err(wrong(&first.type_url, "a stream begins with its id")),
        };
        Ok(Response::new(self.0.open((namespace, init.id), incoming)?))
    }
}

fn wrong(type_url: &str, why: &str) -> Status {
    status::with_suffix(Code::InvalidArgument, format!("{type_url:?}: {why}"))
}

impl Streams {
    fn open(self: &Arc<Self>, key: Key, incoming: tonic::Streaming<Any>) -> Result<Outgoing, Status> {
        let (outgoing, messages) = mpsc::channel(WAITING_MAX);
        let (all_sent, sent) = oneshot::channel();
        // The client may begin when it has this.
        let empty = Any { type_url: "google.protobuf.Empty".into(), value: Vec::new() };
        outgoing.try_send(empty).expect("there is room for the first");
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.contains_key(&key) {
            return Err(status::with_suffix(Code::AlreadyExists, format!("stream {:?}", key.1)));
        }
        if streams.len() >= STREAMS_MAX {
            return Err(Status::resource_exhausted(format!("{STREAMS_MAX} streams are open")));
        }
        let taken = Taken { incoming, outgoing, sent };
        streams.insert(key.clone(), State::Waiting(Box::new(taken)));
        Ok(Outgoing { messages, streams: self.clone(), key, _all_sent: all_sent })
    }

    /// The stream of that id, for the caller alone.
    ///
    /// # Errors
    /// `NotFound`, also for one that somebody else has.
    pub(crate) fn take(&self, namespace: &str, id: &str) -> Result<Taken, Status> {
        let key = (namespace.to_owned(), id.to_owned());
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(&key).map(|state| std::mem::replace(state, State::Taken)) {
            Some(State::Waiting(taken)) => Ok(*taken),
            _ => Err(status::with_suffix(Code::NotFound, format!("stream {id:?}"))),
        }
    }
}

impl Taken {
    /// The next message; none when the client has no more.
    pub(crate) async fn receive(&mut self) -> Result<Option<Any>, Status> {
        self.incoming.message().await
    }

    /// Sends a message when the client has room for it.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn send(&self, message: Any) -> Result<(), Status> {
        let gone = |_| Status::cancelled("the client closed the stream");
        self.outgoing.send(message).await.map_err(gone)
    }

    /// Ends the stream; returns when all that was sent is on its way, so that what is answered elsewhere comes after it.
    pub(crate) async fn finish(self) {
        let Taken { incoming, outgoing, sent } = self;
        drop(outgoing);
        // It is never sent to, only dropped.
        let _ = sent.await;
        drop(incoming);
    }
}

/// What a client is sent. When its call ends, the id is free again.
#[derive(Debug)]
pub(crate) struct Outgoing {
    messages: mpsc::Receiver<Any>,
    streams: Arc<Streams>,
    key: Key,
    _all_sent: oneshot::Sender<()>,
}

impl Stream for Outgoing {
    type Item = Result<Any, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let state = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        // Not under the lock: what goes with it may be more than a moment's work.
        drop(state);
    }
}
