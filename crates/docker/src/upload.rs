//! A request's body as a descriptor that the engine reads.
//!
//! The body goes through a pipe, so that the engine, which reads in a confined process, never holds more of it than the pipe.

use std::os::fd::OwnedFd;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::answer::Failure;

/// A body on its way into a pipe.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The end to read from.
    pub(crate) reader: OwnedFd,
    filler: JoinHandle<bool>,
}

impl Upload {
    /// Begins to fill a pipe.
    pub(crate) fn begin(mut body: Incoming) -> Result<Upload, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("make a pipe: {error}"))
        };
        let (mut writer, reader) = pipe::pipe().map_err(failed)?;
        let reader = reader.into_blocking_fd().map_err(failed)?;
        let filler = tokio::spawn(async move {
            let mut is_read = true;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let Ok(bytes) = frame.into_data() else { continue };
                // The reader may stop early: the rest is still taken, because a client reads no answer while it writes.
                is_read = is_read && writer.write_all(&bytes).await.is_ok();
            }
            true
        });
        Ok(Upload { reader, filler })
    }
}

/// Waits for the end of an upload; whether the client sent all of it.
#[derive(Debug)]
pub(crate) struct Rest(JoinHandle<bool>);

impl Upload {
    /// The descriptor, and what tells about the rest.
    pub(crate) fn split(self) -> (OwnedFd, Rest) {
        (self.reader, Rest(self.filler))
    }
}

impl Rest {
    /// Whether the client sent everything that it announced.
    pub(crate) async fn is_whole(self) -> bool {
        self.0.await.unwrap_or(false)
    }
}
