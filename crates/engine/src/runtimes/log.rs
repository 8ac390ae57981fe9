//! What a shim says: lines that it writes to a fifo of its bundle, and that are shown in our own log.

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::Key;
use super::bundle::Bundle;

/// A longer line is shown in pieces.
const LINE_MAX: usize = 4 << 10;

/// The log of a shim, followed until this is dropped; what was written before that is still shown.
#[derive(Debug)]
pub(super) struct Log {
    _open: oneshot::Sender<()>,
}

impl Log {
    /// Begins. A bundle whose fifo cannot be opened has no log, which is no reason not to have its shim.
    pub(super) fn follow(bundle: &Bundle, key: &Key) -> Log {
        let (open, dropped) = oneshot::channel();
        // Opened for both directions, so that it neither waits for the shim nor ends when a shim opens it late, or again.
        match pipe::OpenOptions::new().read_write(true).open_receiver(bundle.log()) {
            Ok(fifo) => drop(tokio::spawn(show(fifo, key.clone(), dropped))),
            Err(error) => {
                tracing::warn!(namespace = key.namespace, container = key.id, %error, "a shim's log cannot be read");
            }
        }
        Log { _open: open }
    }
}

async fn show(fifo: pipe::Receiver, key: Key, mut dropped: oneshot::Receiver<()>) {
    let mut lines = BufReader::with_capacity(LINE_MAX, fifo);
    loop {
        let bytes = tokio::select! {
            biased;
            read = lines.fill_buf() => match read {
                Ok(bytes) => bytes,
                Err(_) => return,
            },
            // Nothing sends: this is the end.
            _ = &mut dropped => return,
        };
        let length = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        let line = String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned();
        lines.consume(length);
        if !line.is_empty() {
            tracing::info!(namespace = key.namespace, container = key.id, "shim: {line}");
        }
    }
}
