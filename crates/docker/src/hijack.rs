//! Connections that stop being HTTP: the streams of a process in both directions.
//!
//! With `Upgrade: tcp` the answer is 101 and the connection is the session. Without it the answer is 200, its body is
//! the output and the request's body, if it has one, is the input.
//!
//! What ends a session: the output's end; the client leaving; the detach keys; and, as in Docker, the end of the input
//! where it cannot be passed on (a terminal has no end of file, and a container that keeps its stdin open loses only
//! the one who typed).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use engine::containers::AttachStream;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_buf};

use crate::call::Call;
use crate::detach::{DetachFilter, Passed};
use crate::frames;
use crate::peer::Peer;
use crate::reply::{self, Reply};
use crate::websocket::{self, Output};

/// Pieces that are passed on at once; also what is in flight when one side is slow.
const BUFFER_BYTES: usize = 32 << 10;

/// The client's side of a session.
pub(crate) struct Client {
    pub(crate) input: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) output: Box<dyn AsyncWrite + Send + Unpin>,
    peer: Arc<Peer>,
}

/// What happens with what the client sends.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing is read.
    Unread,
    /// The process sees the end of the input.
    Ends,
    /// The session ends with the input; the process sees nothing.
    Leaves,
    /// As [`Input::Leaves`], and so do the keys.
    Terminal(DetachFilter),
}

/// Which streams, and their content type for a version of the API.
pub(crate) fn content_type(call: &Call, terminal: bool) -> HeaderValue {
    let named = call.version >= crate::call::ApiVersion::new(1, 42);
    HeaderValue::from_static(if named && !terminal { frames::MULTIPLEXED } else { frames::RAW })
}

/// Answers the request and runs `session` on its connection.
pub(crate) fn hijack<F, S>(call: Call, kind: HeaderValue, session: S) -> Reply
where
    S: FnOnce(Client) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Call { request, peer, .. } = call;
    let request = request.take();
    if !request.headers().contains_key(UPGRADE) {
        return without_upgrade(request, peer, kind, session);
    }
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let (input, output) = tokio::io::split(TokioIo::new(upgraded));
                session(Client { input: Box::new(input), output: Box::new(output), peer }).await;
            }
            Err(error) => tracing::debug!(%error, "a connection was not taken over"),
        }
    });
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    reply
}

/// As [`hijack`], by WebSocket; `accept` answers its handshake.
pub(crate) fn websocket<F, S>(call: Call, accept: &str, output: Output, session: S) -> Reply
where
    S: FnOnce(Client) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Call { request, peer, .. } = call;
    tokio::spawn(async move {
        match hyper::upgrade::on(request.take()).await {
            Ok(upgraded) => {
                let (near, far) = tokio::io::duplex(BUFFER_BYTES);
                let (input, shown) = tokio::io::split(far);
                let client = Client { input: Box::new(input), output: Box::new(shown), peer };
                tokio::join!(session(client), websocket::pass(TokioIo::new(upgraded), near, output));
            }
            Err(error) => tracing::debug!(%error, "a connection was not taken over"),
        }
    });
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let accept = HeaderValue::from_str(accept).expect("base64 is ASCII");
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    reply.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

fn without_upgrade<F, S>(request: Request<Incoming>, peer: Arc<Peer>, kind: HeaderValue, session: S) -> Reply
where
    S: FnOnce(Client) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let (input, output) = tokio::io::split(near);
    tokio::spawn(session(Client { input: Box::new(input), output: Box::new(output), peer }));
    let (output, mut input) = tokio::io::split(far);
    let mut body = request.into_body();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if input.write_all(&data).await.is_err() {
                return;
            }
        }
        drop(input.shutdown().await);
    });
    let chunks = unfold(output, |mut output| async move {
        let mut chunk = BytesMut::with_capacity(BUFFER_BYTES);
        match output.read_buf(&mut chunk).await {
            Ok(1..) => Some((chunk.freeze(), output)),
            _ => None,
        }
    });
    reply::stream(kind, chunks)
}

impl Client {
    /// Writes something of ours into the session; false when the client has left.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> bool {
        self.output.write_all(&bytes).await.is_ok()
    }

    /// Connects client and process until the session ends.
    pub(crate) async fn join(self, streams: AttachStream, input: Input) {
        let Client { input: mut typed, output: mut shown, peer } = self;
        let (out, stdin) = tokio::io::split(streams);
        {
            let mut out = tokio::io::BufReader::with_capacity(BUFFER_BYTES, out);
            let mut output = std::pin::pin!(copy_buf(&mut out, &mut shown));
            let mut passing = std::pin::pin!(pass_input(&mut typed, stdin, input));
            let mut reading = true;
            loop {
                tokio::select! {
                    _ = &mut output => break,
                    end = &mut passing, if reading => match end {
                        End::Session => break,
                        End::Input => reading = false,
                    },
                    () = peer.gone() => break,
                }
            }
        }
        drop(shown.shutdown().await);
    }

    /// Ends a session that has no process.
    pub(crate) async fn close(mut self) {
        drop(self.output.shutdown().await);
    }
}

/// What the end of the input ends.
enum End {
    Input,
    Session,
}

async fn pass_input(
    typed: &mut (impl AsyncRead + Unpin),
    mut stdin: impl AsyncWrite + Unpin,
    how: Input,
) -> End {
    let mut filter = None;
    let at_end = match how {
        Input::Unread => return End::Input,
        Input::Ends => End::Input,
        Input::Leaves => End::Session,
        Input::Terminal(keys) => {
            filter = Some(keys);
            End::Session
        }
    };
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    let mut passed = Vec::new();
    // An error is an end: a client that broke off types nothing more.
    while let Ok(1..) = typed.read_buf(&mut buffer).await {
        let mut detached = Passed::On;
        let bytes = match &mut filter {
            Some(filter) => {
                passed.clear();
                detached = filter.feed(&buffer, &mut passed);
                &passed[..]
            }
            None => &buffer[..],
        };
        // The process has closed its stdin: the rest is read and dropped, so that the client can send it.
        let _closed = stdin.write_all(bytes).await.and(stdin.flush().await);
        if detached == Passed::Detached {
            return End::Session;
        }
        buffer.clear();
    }
    if let Some(filter) = &filter {
        drop(stdin.write_all(filter.rest()).await);
    }
    if matches!(at_end, End::Input) {
        drop(stdin.shutdown().await);
    }
    at_end
}
