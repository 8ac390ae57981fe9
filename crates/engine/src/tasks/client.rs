//! A connection to a shim: many calls at once over one socket, in ttrpc.
//!
//! A call is written whole or not at all, also when its caller goes away meanwhile, and streams are numbered in the order in which
//! they are written: containerd's shims refuse any other. What the socket does not take at once a task of its own writes.
//!
//! Another task reads answers and hands each to its caller. When the shim ends, every call that waits fails with
//! [`Error::ShimLost`]: that is how the engine learns of a lost shim.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use api::code::Code;
use api::ttrpc::{FrameDecoder, Request, Response, encode_request, set_stream};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

use crate::error::{Error, Result};

/// Answers are short; a longer one takes more reads.
const READ_BUFFER_BYTES: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    writer: Arc<OwnedWriteHalf>,
    calls: Arc<Mutex<Calls>>,
    /// There is a backlog to be written, and who does it.
    is_behind: Arc<Notify>,
    backlog: AbortHandle,
    /// Dropped with the connection.
    open: watch::Receiver<()>,
}

/// The calls without an answer.
#[derive(Debug, Default)]
struct Calls {
    /// Clients use odd numbers.
    last_stream: u32,
    waiting: HashMap<u32, oneshot::Sender<Response>>,
    /// What the socket has not taken yet.
    backlog: Vec<u8>,
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
    calls: Vec<(Vec<u8>, oneshot::Sender<Response>)>,
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
        let (writer, is_behind) = (Arc::new(writer), Arc::<Notify>::default());
        let backlog = tokio::spawn(write_backlog(writer.clone(), calls.clone(), is_behind.clone()));
        let own = calls.clone();
        tokio::spawn(async move {
            read_answers(reader, own).await;
            drop(is_open);
        });
        Ok(Client { writer, calls, is_behind, backlog: backlog.abort_handle(), open })
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
        Batch { client: self, calls: Vec::new() }
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
        batch.send()?;
        Ok(reply)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shim sees that we are gone.
impl Drop for Client {
    fn drop(&mut self) {
        self.backlog.abort();
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
        // It gets its stream when it is sent.
        let frame = encode_request(0, &Request::new(service, method, message)).map_err(|error| {
            Error::Shim { what: "send a request", message: error.to_string(), code: error.code() }
        })?;
        self.calls.push((frame, sender));
        Ok(Reply { receiver, message: PhantomData })
    }

    /// Hands everything to the socket, or to who writes what that does not take.
    pub(crate) fn send(self) -> Result<()> {
        let mut calls = self.client.lock();
        let mut bytes = Vec::new();
        for (mut frame, sender) in self.calls {
            calls.last_stream = calls.last_stream.wrapping_add(2);
            let stream = calls.last_stream;
            set_stream(&mut frame, stream);
            bytes.append(&mut frame);
            // A closed connection drops the sender at once, and the caller learns it from the reply.
            if !calls.is_closed {
                calls.waiting.insert(stream, sender);
            }
        }
        let taken = if calls.backlog.is_empty() { try_write(&self.client.writer, &bytes)? } else { 0 };
        if taken < bytes.len() {
            calls.backlog.extend_from_slice(&bytes[taken..]);
            self.client.is_behind.notify_one();
        }
        Ok(())
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

/// Writes what the socket takes now.
fn try_write(writer: &OwnedWriteHalf, bytes: &[u8]) -> Result<usize> {
    match writer.try_write(bytes) {
        Ok(taken) => Ok(taken),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(Error::ShimLost),
    }
}

/// Writes what was left over, as the socket takes it.
async fn write_backlog(writer: Arc<OwnedWriteHalf>, calls: Arc<Mutex<Calls>>, is_behind: Arc<Notify>) {
    loop {
        is_behind.notified().await;
        loop {
            if writer.writable().await.is_err() {
                return;
            }
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(taken) = try_write(&writer, &calls.backlog) else { return };
            calls.backlog.drain(..taken);
            if calls.backlog.is_empty() {
                break;
            }
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
    use tokio::io::AsyncWriteExt;
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
        batch.send().unwrap();
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

    /// Reads slowly until the client hangs up: how many calls came. Their streams must rise.
    async fn count(listener: UnixListener) -> usize {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut decoder = FrameDecoder::new();
        let (mut count, mut last) = (0, 0);
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            decoder.push(&buffer[..length]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                assert!(frame.stream > last, "{} after {last}", frame.stream);
                last = frame.stream;
                count += 1;
                let response = Response::success(&StateResponse::default());
                stream.write_all(&encode_response(frame.stream, &response)).await.unwrap();
            }
        }
        count
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_are_whole_and_in_order_also_when_callers_go_away() {
        const CALLS: usize = 400;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("task.sock");
        let server = tokio::spawn(count(UnixListener::bind(&socket).unwrap()));
        let client = Arc::new(Client::connect(&socket).await.unwrap());
        let long = StateRequest { id: "x".repeat(20_000), exec_id: String::new() };
        let mut callers = Vec::new();
        for number in 0..CALLS {
            let (client, long) = (client.clone(), long.clone());
            let caller = tokio::spawn(async move {
                let reply: Reply<StateResponse> = client.request("s", "State", &long).await?;
                reply.get("ask").await
            });
            if number % 3 == 0 {
                caller.abort();
            } else {
                callers.push(caller);
            }
        }
        let answered = callers.len();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        drop(client);
        let came = server.await.unwrap();
        assert!((answered..=CALLS).contains(&came), "{came}");
    }
}
