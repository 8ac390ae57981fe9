//! Bytes over a stream: pieces of data, never more than the receiver has allowed.

use std::cell::Cell;
use std::time::Duration;

use api::any;
use api::types::transfer::{Data, WindowUpdate};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Stream;
use crate::error::Error;

/// A piece of data.
const PIECE_MAX: usize = 32 << 10;
/// How long nothing comes when nothing is on its way.
const SILENCE: Duration = Duration::from_millis(500);
/// An archive of tar ends in two empty blocks.
const END_BYTES: usize = 1024;
/// What the daemon may be ahead of us.
const WINDOW: i64 = 64 << 10;

/// Sends what `source` gives, to its end; or until the daemon has enough.
pub(crate) async fn send(mut stream: Stream, mut source: impl AsyncRead + Unpin) -> Result<(), Error> {
    let mut window: i64 = 0;
    let mut piece = vec![0; PIECE_MAX];
    loop {
        while window <= 0 {
            match stream.receive().await? {
                Some(message) => window = window.saturating_add(allowed(&message)),
                None => return Ok(()),
            }
        }
        let room = PIECE_MAX.min(usize::try_from(window).unwrap_or(PIECE_MAX));
        let length = source.read(&mut piece[..room]).await;
        let length = length.map_err(|source| Error::File { what: "read the archive".into(), source })?;
        if length == 0 {
            break;
        }
        window -= i64::try_from(length).unwrap_or(i64::MAX);
        if !stream.send(any::pack(&Data { data: piece[..length].to_vec().into() })).await {
            return Ok(());
        }
    }
    // The end of what is sent; whoever hangs up now would take back what is on its way.
    let Stream { outgoing, mut incoming, .. } = stream;
    drop(outgoing);
    while incoming.message().await?.is_some() {}
    Ok(())
}

fn allowed(message: &prost_types::Any) -> i64 {
    match any::unpack::<WindowUpdate>(message) {
        Some(Ok(WindowUpdate { update })) => update.max(0).into(),
        _ => 0,
    }
}

/// Writes the archive that the daemon sends, to its end. containerd ends its stream never: once it `is_done`, what is still on its
/// way is there within a moment, and the archive's own end tells whether it was all.
pub(crate) async fn receive(
    mut stream: Stream,
    mut sink: impl AsyncWrite + Unpin,
    is_done: &Cell<bool>,
) -> Result<(), Error> {
    let failed = |source| Error::File { what: "write the archive".into(), source };
    let wrong = |reason: String| Error::Document { what: "the archive from the daemon".into(), reason };
    let (mut window, mut zeros) = (0, 0);
    loop {
        if window < WINDOW {
            let update = WindowUpdate { update: i32::try_from(WINDOW).expect("it is small") };
            // After its last piece the daemon takes no more; what it sent is still to be read.
            let is_taken = stream.send(any::pack(&update)).await;
            window = if is_taken { window + WINDOW } else { i64::MAX };
        }
        let message = match tokio::time::timeout(SILENCE, stream.receive()).await {
            Ok(message) => message?,
            Err(_) if is_done.get() => None,
            Err(_) => continue,
        };
        let Some(message) = message else { break };
        let Some(data) = any::unpack::<Data>(&message) else { continue };
        let data = data.map_err(|error| wrong(error.to_string()))?.data;
        window = window.saturating_sub(i64::try_from(data.len()).unwrap_or(i64::MAX));
        let last = data.iter().rev().take_while(|byte| **byte == 0).count();
        zeros = if last == data.len() { zeros + last } else { last };
        sink.write_all(&data).await.map_err(failed)?;
    }
    sink.flush().await.map_err(failed)?;
    match zeros >= END_BYTES {
        true => Ok(()),
        false => Err(wrong("it ends before its end".to_owned())),
    }
}
