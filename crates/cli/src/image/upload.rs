//! Sends an archive to the daemon and shows what it answers: one JSON object per line.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::docker::Progress;
use hyper::Method;

use crate::client::{Body, Client, Path};
use crate::error::Error;
use crate::lines::Lines;
use crate::output::{self, StatusLine};
use crate::{registry, size};

/// How often the count of bytes is shown, and how long nothing is.
const TICK: Duration = Duration::from_millis(500);

/// What is sent.
pub(crate) enum Archive {
    Stdin,
    /// The daemon has it, or gets it.
    Nothing,
    File {
        file: File,
        length: u64,
    },
}

impl Archive {
    /// Opens a file; the file system may tell how long it is.
    pub(crate) fn open(name: &str) -> Result<Archive, Error> {
        let path = std::path::Path::new(name);
        let failed = |source| Error::File { action: "open", path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Archive::File { file, length: metadata.len() })
    }
}

/// Sends `archive` and gives each message of the answer to `show`. Meanwhile a terminal on stderr sees how far it is.
pub(crate) async fn upload(
    client: &Client,
    path: Path,
    archive: Archive,
    mut show: impl FnMut(&Progress) -> Result<(), Error>,
) -> Result<(), Error> {
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let seen = move |total| count.store(total, Ordering::Relaxed);
    let headers = match &archive {
        Archive::Nothing => registry::proxy_headers(),
        Archive::Stdin | Archive::File { .. } => Vec::new(),
    };
    let (input, length): (Box<dyn Read + Send>, Option<u64>) = match archive {
        Archive::Stdin => (Box::new(io::stdin()), None),
        Archive::Nothing => (Box::new(io::empty()), Some(0)),
        Archive::File { file, length } => (Box::new(file), Some(length)),
    };
    let mut status = StatusLine::new();
    let answer = client.stream_with(Method::POST, path, headers, Body::reading(input, seen));
    let mut answer = Lines::new(ticking(answer, || status.show(&progress(&sent, length))).await?);
    loop {
        let line = ticking(answer.next(), || status.show(&progress(&sent, length))).await?;
        let Some(line) = line else { return Ok(()) };
        let message: Progress = serde_json::from_slice(&line).map_err(Error::Answer)?;
        status.clear();
        let error =
            message.error_detail.as_ref().map(|detail| &detail.message).filter(|text| !text.is_empty());
        if let Some(error) = error.or(Some(&message.error).filter(|text| !text.is_empty())) {
            return Err(Error::Daemon { status: 500, message: error.clone() });
        }
        show(&message)?;
    }
}

/// Waits for `work` and calls `tick` now and then.
async fn ticking<T>(work: impl Future<Output = T>, mut tick: impl FnMut()) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(result) => return result,
            Err(_) => tick(),
        }
    }
}

fn progress(sent: &AtomicU64, length: Option<u64>) -> String {
    let bytes = |count: u64| size::decimal(i64::try_from(count).unwrap_or(i64::MAX));
    let sent = sent.load(Ordering::Relaxed);
    match length {
        Some(length) if sent >= length => "unpacking...".to_owned(),
        Some(length) => format!("sending: {} of {}", bytes(sent), bytes(length)),
        None => format!("sending: {}", bytes(sent)),
    }
}

/// Prints the text of a message as `docker load` does.
pub(crate) fn print_stream(message: &Progress) -> Result<(), Error> {
    output::print(&message.stream)
}
