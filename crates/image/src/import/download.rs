//! The web as the source of an import.

use std::io;
use std::os::fd::OwnedFd;

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::archive::MAX_LAYER_SIZE;
use crate::error::{Error, Result};
use crate::images::Images;
use crate::registry::{Access, SILENCE_MAX};

/// A report of progress for every so many bytes.
const PROGRESS_STEP: u64 = 512 << 10;

/// What is at a URL, on its way.
pub struct Download {
    url: String,
    body: hyper::body::Incoming,
    /// Announced.
    pub total_bytes: Option<u64>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Images {
    /// Asks for what is at a URL.
    pub async fn download(&self, url: &str, access: &Access) -> Result<Download> {
        let (body, total_bytes) = self.registry.fetch(url, access).await?;
        Ok(Download { url: url.to_owned(), body, total_bytes })
    }
}

impl Download {
    /// Writes it into a pipe; `progress` is told the bytes so far.
    pub async fn write(mut self, output: OwnedFd, progress: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        let failed = |source| Error::File { what: "fetch", path: self.url.clone().into(), source };
        let mut output = pipe::Sender::from_owned_fd(output).map_err(failed)?;
        let (mut bytes, mut reported) = (0, 0);
        loop {
            let frame = match timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
                Ok(None) => break,
                Ok(Some(frame)) => frame.map_err(|error| failed(io::Error::other(error)))?,
            };
            let Ok(piece) = frame.into_data() else { continue };
            bytes += piece.len() as u64;
            if bytes > MAX_LAYER_SIZE {
                return Err(failed(io::ErrorKind::FileTooLarge.into()));
            }
            output.write_all(&piece).await.map_err(failed)?;
            if bytes >= reported + PROGRESS_STEP {
                reported = bytes;
                progress(bytes);
            }
        }
        progress(bytes);
        Ok(())
    }
}
