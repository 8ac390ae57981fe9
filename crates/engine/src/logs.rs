//! Container logs: Docker's json-file format, read back.
//!
//! The shim writes `log.json` and rotates it (`log.json` → `log.json.1` → …, compressed if that is asked for); nobody else
//! writes. A reader holds the file that it reads, so a rotation takes nothing from it, and follows the chain of files by their
//! inodes, or by the time of their last entry when one was compressed: each entry is read once. A follower ends when the container has stopped and its log is complete.

mod files;
mod marks;
mod options;
mod order;
mod source;
mod watcher;

use std::collections::VecDeque;
use std::path::PathBuf;

use tokio::sync::{mpsc, watch};

use crate::blocking::blocking;
use crate::error::{Error, Result};
use files::Reader;
pub(crate) use marks::Facts;
pub use options::DRIVERS;
pub(crate) use order::order;
pub(crate) use watcher::Watcher;

/// Batches between the reader and a client that is slower: two, so that neither waits for the other.
const BATCHES: usize = 2;

/// Which log entries, and whether to go on waiting for more.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since_ns: Option<i64>,
    pub until_ns: Option<i64>,
}

/// The log of a container, entry by entry.
#[derive(Debug)]
pub struct LogStream {
    batch: VecDeque<LogEntry>,
    receiver: mpsc::Receiver<Result<Vec<LogEntry>>>,
}

/// One entry: a line with its newline, or a part of a long line without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub stream: LogSource,
    pub time_ns: i64,
    pub bytes: Vec<u8>,
    /// What the log's options mark entries with, by name.
    pub attributes: Vec<(String, String)>,
}

/// Where an entry was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    Stdout,
    Stderr,
}

impl LogStream {
    /// The next entry; None when the log has ended.
    pub async fn next(&mut self) -> Option<Result<LogEntry>> {
        loop {
            if let Some(entry) = self.batch.pop_front() {
                return Some(Ok(entry));
            }
            match self.receiver.recv().await? {
                Ok(batch) => self.batch = batch.into(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Opens the log in `directory`. `is_open` tells whether the shim may still write; None: it does not.
pub(crate) fn open(
    watcher: &Watcher,
    directory: PathBuf,
    options: LogOptions,
    is_open: Option<watch::Receiver<bool>>,
) -> Result<LogStream> {
    let changes = if options.follow && is_open.is_some() { Some(watcher.watch(&directory)?) } else { None };
    let (sender, receiver) = mpsc::channel(BATCHES);
    tokio::spawn(async move {
        let follow = is_open.zip(changes);
        if let Err(error) = send_all(&sender, directory, options, follow).await {
            // The client may be gone; then nobody wants to know.
            drop(sender.send(Err(error)).await);
        }
    });
    Ok(LogStream { batch: VecDeque::new(), receiver })
}

type Follow = (watch::Receiver<bool>, watcher::Changes);

async fn send_all(
    sender: &mpsc::Sender<Result<Vec<LogEntry>>>,
    directory: PathBuf,
    options: LogOptions,
    mut follow: Option<Follow>,
) -> Result<()> {
    let mut reader = blocking(move || Reader::open(directory, options)).await?;
    loop {
        // Both before reading: what comes while we read is seen in the next round.
        let may_grow = match &mut follow {
            Some((is_open, changes)) => {
                changes.seen();
                *is_open.borrow_and_update()
            }
            None => false,
        };
        loop {
            let (back, batch) = blocking(move || {
                let batch = reader.read();
                (reader, batch)
            })
            .await;
            reader = back;
            let Some(batch) = batch? else { break };
            reader = match send(sender, batch, reader, &mut follow).await? {
                Some(reader) => reader,
                None => return Ok(()),
            };
        }
        if reader.is_finished() {
            return Ok(());
        }
        let Some((is_open, changes)) = &mut follow else { return Ok(()) };
        if !may_grow {
            return Ok(());
        }
        tokio::select! {
            _ = is_open.changed() => {}
            () = changes.wait() => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

/// Hands a batch to the client. While it is slow, new files of the log are opened before they are rotated away.
async fn send(
    sender: &mpsc::Sender<Result<Vec<LogEntry>>>,
    batch: Vec<LogEntry>,
    mut reader: Reader,
    follow: &mut Option<Follow>,
) -> Result<Option<Reader>> {
    if batch.is_empty() {
        return Ok(Some(reader));
    }
    let Some((_, changes)) = follow else {
        return Ok(sender.send(Ok(batch)).await.is_ok().then_some(reader));
    };
    loop {
        tokio::select! {
            permit = sender.reserve() => {
                let Ok(permit) = permit else { return Ok(None) };
                permit.send(Ok(batch));
                return Ok(Some(reader));
            }
            () = changes.wait() => {
                let (back, tracked) = blocking(move || {
                    let tracked = reader.track();
                    (reader, tracked)
                })
                .await;
                reader = back;
                tracked?;
            }
        }
    }
}

/// Docker's word for a stream.
fn source(text: &str) -> Option<LogSource> {
    match text {
        "stdout" => Some(LogSource::Stdout),
        "stderr" => Some(LogSource::Stderr),
        _ => None,
    }
}

fn file_error(what: &'static str, path: &std::path::Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::File { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
