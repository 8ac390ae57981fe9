//! A connection that stops being HTTP: the streams of a process, straight through.
//!
//! Answered with 101 to a client that asked for `Upgrade: tcp`, with 200 to an older one; then raw bytes flow both ways. What
//! the client types is watched for the detach keys if the process has a terminal.

use bytes::Bytes;
use engine::containers::AttachStream;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::answer::{Answer, Body};
use crate::detach::{DetachKeys, Typed};
use crate::request::Request;

/// What is copied at a time.
const BUFFER: usize = 32 << 10;

/// How the two directions are handled.
#[derive(Debug)]
pub(crate) struct Hijack {
    pub(crate) stream: AttachStream,
    /// Whether the client's input goes to the process.
    pub(crate) stdin: bool,
    /// Keys that detach; `None` passes everything on.
    pub(crate) detach: Option<DetachKeys>,
    /// Sent before what the stream gives: the log so far.
    pub(crate) head: Vec<Bytes>,
    /// Raw bytes (a terminal), or frames.
    pub(crate) is_raw: bool,
}

impl Hijack {
    /// Answers, and lets the bytes flow once the answer is out.
    pub(crate) fn answer(self, mut request: Request) -> Answer {
        // Clients before 1.42 know one type for both.
        let content_type = if self.is_raw || request.version < (1, 42) {
            "application/vnd.docker.raw-stream"
        } else {
            "application/vnd.docker.multiplexed-stream"
        };
        let mut response = Response::new(Body::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let upgrade = hyper::upgrade::on(request.http_mut());
        tokio::spawn(self.run(upgrade));
        Ok(response)
    }

    async fn run(self, upgrade: OnUpgrade) {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a client left before its connection was handed over");
                return;
            }
        };
        if let Err(error) = self.copy(upgraded).await {
            tracing::debug!(%error, "an attached client's connection broke");
        }
    }

    async fn copy(self, upgraded: Upgraded) -> std::io::Result<()> {
        let (mut client_read, mut client_write) = tokio::io::split(TokioIo::new(upgraded));
        let (mut process_read, process_write) = tokio::io::split(self.stream);
        for bytes in self.head {
            client_write.write_all(&bytes).await?;
        }
        let output = async {
            tokio::io::copy_buf(
                &mut tokio::io::BufReader::with_capacity(BUFFER, &mut process_read),
                &mut client_write,
            )
            .await?;
            client_write.shutdown().await
        };
        let input = forward(&mut client_read, process_write, self.stdin, self.detach);
        tokio::pin!(output, input);
        // The end of the output ends everything. The end of the input does not, unless the client detached.
        tokio::select! {
            ended = &mut output => ended,
            typed = &mut input => match typed {
                Ok(Ended::Input) => output.await,
                Ok(Ended::Detached) | Err(_) => Ok(()),
            },
        }
    }
}

enum Ended {
    Input,
    Detached,
}

/// Passes the client's input on until it ends or the client detaches.
async fn forward(
    client: &mut (impl AsyncRead + Unpin),
    mut process: impl AsyncWrite + Unpin,
    stdin: bool,
    mut detach: Option<DetachKeys>,
) -> std::io::Result<Ended> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            if stdin {
                process.shutdown().await?;
            }
            return Ok(Ended::Input);
        }
        let typed = match &mut detach {
            Some(keys) => keys.look(&buffer[..length]),
            None => Typed::Keys(buffer[..length].to_vec()),
        };
        let (keys, is_detached) = match typed {
            Typed::Keys(keys) => (keys, false),
            Typed::Detach(keys) => (keys, true),
        };
        // A process that has closed its input does not end the client's connection.
        if stdin && process.write_all(&keys).await.is_err() {
            tracing::debug!("input for a process that does not read it");
        }
        if is_detached {
            return Ok(Ended::Detached);
        }
    }
}
