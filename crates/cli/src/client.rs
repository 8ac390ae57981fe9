//! A client of the Docker Engine API: requests, JSON answers, streamed bodies, hijacked connections.
//!
//! One connection is kept for the next request when its answer was read to the end; a stream or a hijack has its own.
//! Paths carry no version, so every daemon answers with its newest. When nobody listens at our own default address, a
//! daemon is started (see [`crate::launch`]).

pub(crate) mod address;
pub(crate) mod body;
pub(crate) mod hijack;
pub(crate) mod path;
pub(crate) mod tunnel;

use std::cell::RefCell;
use std::io;

use api::docker::ErrorBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use crate::error::Error;
use crate::launch::Launcher;
use crate::output;
use crate::registry::Headers;
pub(crate) use address::Address;
pub(crate) use body::Body;
pub(crate) use hijack::{Hijacked, Socket};
pub(crate) use path::Path;
use tunnel::Fate;

/// The longest JSON answer: a list of a hundred thousand containers.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// The longest error answer that is worth reading.
const MAX_ERROR: usize = 1024 * 1024;

/// A daemon, and how to come to it.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    /// Who starts the daemon, at our own address.
    launcher: Option<Launcher>,
    manner: Manner,
    /// Of the last way that is no socket.
    fate: Fate,
    idle: RefCell<Option<SendRequest<Body>>>,
}

/// What goes along with every request.
#[derive(Debug, Default)]
pub(crate) struct Manner {
    /// The value of the header that says which namespace is meant.
    pub(crate) namespace: Option<String>,
    /// The user's own headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Requests are told on stderr.
    pub(crate) is_told: bool,
}

impl Client {
    pub(crate) fn new(address: Address, launcher: Option<Launcher>, manner: Manner) -> Client {
        Client { address, launcher, manner, fate: Fate::default(), idle: RefCell::new(None) }
    }

    /// A connection of its own on which nothing was said yet: its two directions.
    pub(crate) async fn raw(&self) -> Result<(Socket, Socket), Error> {
        if self.launcher.is_some() {
            // Where a daemon is to be started, it is.
            drop(self.connect().await?);
        }
        let socket = match self.open().await? {
            Stream::Unix(stream) => stream.into_std().map(Socket::Unix),
            Stream::Tcp(stream) => stream.into_std().map(Socket::Tcp),
        };
        socket.and_then(Socket::split).map_err(|source| self.unreachable(source))
    }

    /// A request without a body; the answer as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: Path) -> Result<T, Error> {
        decode(&self.exchange(Method::GET, path, Body::empty()).await?)
    }

    /// The same as the text that the daemon sent.
    pub(crate) async fn get_text(&self, path: Path) -> Result<String, Error> {
        let answer = self.exchange(Method::GET, path, Body::empty()).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Asks for something to be done; what is answered does not matter.
    pub(crate) async fn post(&self, path: Path) -> Result<(), Error> {
        self.exchange(Method::POST, path, Body::empty()).await.map(drop)
    }

    /// Asks for something to be done; the answer as JSON.
    pub(crate) async fn post_for<T: DeserializeOwned>(&self, path: Path) -> Result<T, Error> {
        decode(&self.exchange(Method::POST, path, Body::empty()).await?)
    }

    /// Sends JSON; the answer as JSON.
    pub(crate) async fn post_json<T: DeserializeOwned>(
        &self,
        path: Path,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        decode(&self.exchange(Method::POST, path, Body::json(body)).await?)
    }

    /// A request with headers of its own; the answer as JSON.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: Path,
        headers: Headers,
    ) -> Result<T, Error> {
        let answer = self.stream_with(Method::GET, path, headers, Body::empty()).await?;
        decode(&collect(answer, MAX_ANSWER).await?)
    }

    /// Sends a body and headers; the answer as JSON.
    pub(crate) async fn post_json_with<T: DeserializeOwned>(
        &self,
        path: Path,
        headers: Headers,
        body: Body,
    ) -> Result<T, Error> {
        let answer = self.stream_with(Method::POST, path, headers, body).await?;
        decode(&collect(answer, MAX_ANSWER).await?)
    }

    /// Sends JSON; what is answered does not matter.
    pub(crate) async fn send_json(&self, path: Path, body: &impl Serialize) -> Result<(), Error> {
        self.exchange(Method::POST, path, Body::json(body)).await.map(drop)
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: Path) -> Result<Bytes, Error> {
        self.exchange(Method::DELETE, path, Body::empty()).await
    }

    /// A request whose answer is read as it comes, on a connection of its own.
    pub(crate) async fn stream(&self, method: Method, path: Path, body: Body) -> Result<Incoming, Error> {
        self.stream_with(method, path, Headers::new(), body).await
    }

    /// The same with headers.
    pub(crate) async fn stream_with(
        &self,
        method: Method,
        path: Path,
        headers: Headers,
        body: Body,
    ) -> Result<Incoming, Error> {
        let mut sender = self.connect().await?;
        let mut request = self.request(method, path, body)?;
        for (name, value) in headers {
            let value = value.parse().expect("base64 is a header's value");
            request.headers_mut().insert(name, value);
        }
        let response = sender.send_request(request).await.map_err(|error| self.unanswered(error))?;
        Ok(checked(response).await?.into_body())
    }

    /// A request whose answer is wanted with its headers, on a connection of its own.
    pub(crate) async fn respond(
        &self,
        method: Method,
        path: Path,
        body: Body,
    ) -> Result<Response<Incoming>, Error> {
        let mut sender = self.connect().await?;
        let response = sender
            .send_request(self.request(method, path, body)?)
            .await
            .map_err(|error| self.unanswered(error))?;
        checked(response).await
    }

    /// A request that turns its connection into two streams of bytes.
    pub(crate) async fn hijack(&self, path: Path, body: Body) -> Result<Hijacked, Error> {
        let mut sender = self.connect().await?;
        let mut request = self.request(Method::POST, path, body)?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, "Upgrade".parse().expect("a literal header value"));
        headers.insert(UPGRADE, "tcp".parse().expect("a literal header value"));
        let response = sender.send_request(request).await.map_err(|error| self.unanswered(error))?;
        let response = checked(response).await?;
        hijack::take(hyper::upgrade::on(response).await.map_err(Error::Transport)?)
    }

    /// Sends a request and reads its whole answer.
    async fn exchange(&self, method: Method, path: Path, body: Body) -> Result<Bytes, Error> {
        let kept = self.idle.borrow_mut().take().filter(SendRequest::is_ready);
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender
            .send_request(self.request(method, path, body)?)
            .await
            .map_err(|error| self.unanswered(error))?;
        let answer = collect(checked(response).await?.into_body(), MAX_ANSWER).await?;
        *self.idle.borrow_mut() = Some(sender);
        Ok(answer)
    }

    fn request(&self, method: Method, path: Path, body: Body) -> Result<Request<Body>, Error> {
        let content_type = body.content_type();
        if self.manner.is_told {
            output::complain(&format!("debug: {method} {}", path.clone().into_uri()));
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.into_uri();
        let headers = request.headers_mut();
        headers.insert(HOST, "docker".parse().expect("a literal header value"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.parse().expect("a literal header value"));
        }
        for (name, value) in &self.manner.headers {
            headers.insert(name, value.clone());
        }
        if let Some(namespace) = &self.manner.namespace {
            let wrong = |_| Error::Value(format!("{namespace:?} is no name of a namespace"));
            headers.insert("x-corten-namespace", namespace.parse().map_err(wrong)?);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Error> {
        match self.dial().await {
            Err(Error::Connect { source, .. }) if is_nobody_there(&source) && self.launcher.is_some() => {
                self.launcher.as_ref().expect("just seen").start().await?;
                self.dial().await
            }
            result => result,
        }
    }

    async fn dial(&self) -> Result<SendRequest<Body>, Error> {
        match self.open().await? {
            Stream::Unix(stream) => handshake(stream).await,
            Stream::Tcp(stream) => handshake(stream).await,
        }
    }

    async fn open(&self) -> Result<Stream, Error> {
        let pair = |stream: std::os::unix::net::UnixStream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream).map(Stream::Unix)
        };
        let opened = match &self.address {
            Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Address::Tcp(host) => {
                let stream = TcpStream::connect(host).await;
                stream.and_then(|stream| stream.set_nodelay(true).map(|()| Stream::Tcp(stream)))
            }
            Address::Tls(host, material) => tunnel::tls(host, material, &self.fate).await.and_then(pair),
            Address::Ssh(ssh) => tunnel::ssh(ssh, &self.fate).and_then(pair),
        };
        opened.map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: io::Error) -> Error {
        Error::Connect { address: self.address.to_string(), source }
    }

    /// Why there is no answer: the way to the daemon may know more than that it ended.
    fn unanswered(&self, error: hyper::Error) -> Error {
        match self.fate.take() {
            Some(source) => self.unreachable(source),
            None => Error::Transport(error),
        }
    }
}

/// A connection to a daemon, or to what leads there.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Whether nobody listens there, as against being kept out.
pub(crate) fn is_nobody_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>, Error>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
    S: Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::Transport)?;
    // Its failure reaches whoever waits for the answer.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// The answer, or the error that the daemon answered with.
async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let answer = collect(response.into_body(), MAX_ERROR).await?;
    Err(Error::Daemon { status: status.as_u16(), message: error_message(status, &answer) })
}

fn error_message(status: StatusCode, answer: &[u8]) -> String {
    let message = match serde_json::from_slice::<ErrorBody>(answer) {
        Ok(body) => body.message,
        Err(_) => String::from_utf8_lossy(answer).into_owned(),
    };
    match message.trim() {
        "" => status.to_string(),
        message => message.to_owned(),
    }
}

async fn collect(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::AnswerTooLong(limit)),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => Error::Transport(*error),
            Err(error) => Error::Lost(io::Error::other(error)),
        }),
    }
}

fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(Error::Answer)
}

#[cfg(test)]
mod tests {
    use super::error_message;
    use hyper::StatusCode;

    #[test]
    fn an_error_is_what_the_daemon_says_or_its_status() {
        let cases = [
            (r#"{"message":"No such container: a"}"#, "No such container: a"),
            ("plain\n", "plain"),
            (r#"{"message":""}"#, "404 Not Found"),
            ("", "404 Not Found"),
        ];
        for (answer, message) in cases {
            assert_eq!(error_message(StatusCode::NOT_FOUND, answer.as_bytes()), message);
        }
    }
}
