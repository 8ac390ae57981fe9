//! Bytes over a stream: pieces of data, as many as the receiver has allowed.

use std::os::fd::OwnedFd;

use api::any;
use api::code::Code;
use api::types::transfer::{Data, WindowUpdate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tonic::Status;

use super::Taken;
use crate::status;

/// A piece of data.
const PIECE_MAX: usize = 32 << 10;
/// What a sender may be ahead of us.
const WINDOW: i64 = 64 << 10;

/// A pipe: the end that is worked with here, and the one for a thread that blocks.
pub(crate) fn reading() -> Result<(pipe::Sender, OwnedFd), Status> {
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let writer = nonblocking(writer.into())?;
    Ok((pipe::Sender::from_owned_fd(writer).map_err(failed)?, reader.into()))
}

/// As [`reading`], the other way.
pub(crate) fn writing() -> Result<(pipe::Receiver, OwnedFd), Status> {
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    Ok((receiver(reader.into())?, writer.into()))
}

/// The end of a pipe that is read here.
pub(crate) fn receiver(reader: OwnedFd) -> Result<pipe::Receiver, Status> {
    pipe::Receiver::from_owned_fd(nonblocking(reader)?).map_err(failed)
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd, Status> {
    rustix::io::ioctl_fionbio(&fd, true).map_err(|error| failed(error.into()))?;
    Ok(fd)
}

/// Brings what the client sends into a pipe, until the client has no more or nobody reads it.
pub(crate) async fn receive(stream: &mut Taken, mut sink: pipe::Sender) -> Result<(), Status> {
    let mut window = 0;
    loop {
        if window < WINDOW {
            let update = WindowUpdate { update: i32::try_from(WINDOW).expect("it is small") };
            match stream.send(any::pack(&update)).await {
                Ok(()) => window += WINDOW,
                // It may have closed after its last piece.
                Err(_) => window = i64::MAX,
            }
        }
        let Some(message) = stream.receive().await? else { return Ok(()) };
        let Some(data) = any::unpack::<Data>(&message) else {
            tracing::debug!(type_url = message.type_url, "a message that is no data was passed over");
            continue;
        };
        let data = data.map_err(|error| status::with_suffix(Code::InvalidArgument, error.to_string()))?.data;
        window -= i64::try_from(data.len()).unwrap_or(i64::MAX);
        if let Err(error) = sink.write_all(&data).await {
            return match error.kind() {
                // Whoever reads has enough, or says itself what is wrong.
                std::io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(failed(error)),
            };
        }
    }
}

/// Sends the client what comes out of a pipe, at its pace.
pub(crate) async fn send(stream: &mut Taken, mut source: pipe::Receiver) -> Result<(), Status> {
    let mut window: i64 = 0;
    let mut piece = vec![0; PIECE_MAX];
    loop {
        while window <= 0 {
            let gone = || Status::cancelled("the client closed the stream before its end");
            window = window.saturating_add(allowed(stream.receive().await?.ok_or_else(gone)?));
        }
        let room = PIECE_MAX.min(usize::try_from(window).unwrap_or(PIECE_MAX));
        let length = match source.read(&mut piece[..room]).await.map_err(failed)? {
            0 => return Ok(()),
            length => length,
        };
        window -= i64::try_from(length).unwrap_or(i64::MAX);
        stream.send(any::pack(&Data { data: piece[..length].to_vec().into() })).await?;
    }
}

/// By how much a message opens the window.
fn allowed(message: prost_types::Any) -> i64 {
    match any::unpack::<WindowUpdate>(&message) {
        Some(Ok(WindowUpdate { update })) => update.max(0).into(),
        _ => 0,
    }
}

fn failed(error: std::io::Error) -> Status {
    Status::internal(format!("the stream's pipe: {error}"))
}
