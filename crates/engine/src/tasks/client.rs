//! A connection to a shim: many calls at once over one socket, in ttrpc.
//!
//! A task of its own reads answers and hands each to its caller. When the shim ends, every call that waits fails with
//! [`Error::ShimLost`]: that is how the engine learns of a lost shim.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use api::code::Code;
use api::ttrpc::{FrameDecoder, Request, Response, encode_request};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{oneshot, watch};

use crate::error::{Error, Result};

/// Answers are short; a longer one takes more reads.
const READ_BUFFER_BYTES: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    calls: Arc<Mutex<Calls>>,
    /// Dropped with the connection.
    open: watch::Receiver<()>,
}

/// The calls without an answer.
#[derive(Debug, Default)]
struct Calls {
    /// Clients use odd numbers.
    last_stream: u32,
    waiting: HashMap<u32, oneshot::Sender<Response>>,
    is_closed: bool,
}

/// The answer to a call, to come.
#[derive(Debug)]
pub(crate) struct Reply<M> {
    receiver: oneshot::Receiver<Response>,
    message: PhantomData<fn() -> M>,
}

/// Calls that travel in one write and are answered in order.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    client: &'a Client,
    bytes: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket).await.map_err(|source| Error::File {
            what: "connect to a shim at",
            path: socket.to_owned(),
            source,
        })?;
        let (reader, writer) = stream.into_split();
        let calls = Arc::new(Mutex::new(Calls { last_stream: u32::MAX, ..Calls::default() }));
        let (is_open, open) = watch::channel(());
        let own = calls.clone();
        tokio::spawn(async move {
            read_answers(reader, own).await;
            drop(is_open);
        });
        Ok(Client { writer: tokio::sync::Mutex::new(writer), calls, open })
    }

    /// Waits until the shim has hung up.
    pub(crate) async fn closed(&self) {
        // Nothing is ever sent: only the end is news.
        drop(self.open.clone().changed().await);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { client: self, bytes: Vec::new() }
    }

    /// Sends one call.
    pub(crate) async fn request<Q: Message, M>(
        &self,
        service: &str,
        method: &str,
        message: &Q,
    ) -> Result<Reply<M>> {
        let mut batch = self.batch();
        let reply = batch.add(service, method, message)?;
        batch.send().await?;
        Ok(reply)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch<'_> {
    pub(crate) fn add<Q: Message, M>(
        &mut self,
        service: &str,
        method: &str,
        message: &Q,
    ) -> Result<Reply<M>> {
        let (sender, receiver) = oneshot::channel();
        let mut calls = self.client.lock();
        let stream = calls.last_stream.wrapping_add(2);
        let bytes = encode_request(stream, &Request::new(service, method, message)).map_err(|error| {
            Error::Shim { what: "send a request", message: error.to_string(), code: error.code() }
        })?;
        calls.last_stream = stream;
        // A closed connection drops the sender at once, and the caller learns it from the reply.
        if !calls.is_closed {
            calls.waiting.insert(stream, sender);
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(Reply { receiver, message: PhantomData })
    }

    pub(crate) async fn send(self) -> Result<()> {
        let mut writer = self.client.writer.lock().await;
        writer.write_all(&self.bytes).await.map_err(|_| Error::ShimLost)
    }
}

impl<M: Message + Default> Reply<M> {
    /// The answer; `what` says in errors what was tried.
    pub(crate) async fn get(self, what: &'static str) -> Result<M> {
        let response = self.receiver.await.map_err(|_| Error::ShimLost)?;
        match response.into_result() {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(status)) => {
                Err(Error::Shim { what, message: status.message, code: Code::from_grpc(status.code) })
            }
            Err(error) => Err(Error::Shim { what, message: error.to_string(), code: error.code() }),
        }
    }
}

async fn read_answers(mut reader: OwnedReadHalf, calls: Arc<Mutex<Calls>>) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = [0; READ_BUFFER_BYTES];
    'connection: while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        decoder.push(&buffer[..length]);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => break 'connection,
            };
            let Ok(response) = frame.response() else { break 'connection };
            let caller = calls.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&frame.stream);
            if let Some(caller) = caller {
                // A caller that went away does not want its answer.
                drop(caller.send(response));
            }
        }
    }
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    calls.is_closed = true;
    calls.waiting.clear();
}

#[cfg(test)]
mod tests {
    use api::task::{StateRequest, StateResponse};
    use api::ttrpc::encode_response;
    use tokio::net::UnixListener;

    use super::*;

    /// Answers two calls in the opposite order, then hangs up with a third unanswered.
    async fn serve(listener: UnixListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut decoder = FrameDecoder::new();
        let mut frames = Vec::new();
        let mut buffer = [0; 1024];
        while frames.len() < 3 {
            let length = stream.read(&mut buffer).await.unwrap();
            decoder.push(&buffer[..length]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        for frame in frames[..2].iter().rev() {
            let request = frame.request().unwrap();
            let asked = StateRequest::decode(request.payload.as_slice()).unwrap();
            let response = match asked.id.as_str() {
                "bad" => Response::failure(Code::NotFound, "no such task"),
                id => Response::success(&StateResponse { id: id.to_owned(), ..StateResponse::default() }),
            };
            stream.write_all(&encode_response(frame.stream, &response)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn answers_find_their_callers_and_a_hang_up_fails_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("task.sock");
        let server = tokio::spawn(serve(UnixListener::bind(&socket).unwrap()));
        let client = Client::connect(&socket).await.unwrap();
        let ask = |id: &str| StateRequest { id: id.to_owned(), exec_id: String::new() };
        let mut batch = client.batch();
        let good: Reply<StateResponse> = batch.add("s", "State", &ask("good")).unwrap();
        let bad: Reply<StateResponse> = batch.add("s", "State", &ask("bad")).unwrap();
        let last: Reply<StateResponse> = batch.add("s", "State", &ask("last")).unwrap();
        batch.send().await.unwrap();
        assert_eq!(good.get("ask").await.unwrap().id, "good");
        assert_eq!(bad.get("ask").await.unwrap_err().code(), Code::NotFound);
        assert!(matches!(last.get("ask").await, Err(Error::ShimLost)));
        server.await.unwrap();
        assert!(client.is_closed());
        let late = client.request::<_, StateResponse>("s", "State", &ask("late")).await;
        assert!(match late {
            Ok(reply) => matches!(reply.get("ask").await, Err(Error::ShimLost)),
            Err(error) => matches!(error, Error::ShimLost),
        });
    }
}
