//! Archives as bodies: a request's is written into a pipe, an answer's is read out of one, both at the pace of the slower side.

use std::io;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::reply::{self, Reply};

pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
/// What is read of a pipe at a time, and what the kernel is asked to keep in it.
const PIECE: usize = 256 << 10;

/// A pipe that a request's body is written to.
pub(crate) fn feed(mut body: Incoming) -> Result<(OwnedFd, JoinHandle<io::Result<()>>)> {
    let failed = |source| Error::System { what: "no pipe for the request's body", source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let mut writer = pipe::Sender::from_owned_fd(writer.into()).map_err(failed)?;
    let feeder = tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            // The reader has what it needs, or has failed: the rest is read, so that the client hears why.
            let _closed = writer.write_all(&data).await;
        }
        Ok(())
    });
    Ok((reader.into(), feeder))
}

/// What was made of a body, if that came whole.
pub(crate) async fn arrived<T>(feeder: JoinHandle<io::Result<()>>, made: engine::Result<T>) -> Result<T> {
    let made = made?;
    match feeder.await {
        Ok(Ok(())) => Ok(made),
        Ok(Err(source)) => Err(Error::System { what: "the request's body did not arrive", source }),
        Err(_) => Err(Error::Panicked),
    }
}

/// An answer whose body is what `write` puts into the pipe that it gets.
pub(crate) fn reply<F>(write: impl FnOnce(OwnedFd) -> F) -> Result<Reply>
where
    F: Future<Output = engine::Result<()>> + Send + 'static,
{
    let failed = |source| Error::System { what: "no pipe for the answer's body", source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    // A smaller pipe is slower, and that is all.
    let _size = rustix::pipe::fcntl_setpipe_size(&writer, PIECE);
    let written = tokio::spawn(write(writer.into()));
    drain(reader.into(), TAR, async move {
        match written.await {
            Ok(written) => written.map_err(|error| error.chain()),
            Err(panic) => Err(panic.to_string()),
        }
    })
}

/// An answer whose body is what comes out of a pipe. If `end` tells afterwards that it failed, the connection is cut, so that
/// nobody takes what came for the whole.
pub(crate) fn drain(
    output: OwnedFd,
    kind: HeaderValue,
    end: impl Future<Output = std::result::Result<(), String>> + Send + 'static,
) -> Result<Reply> {
    let failed = |source| Error::System { what: "no pipe for the answer's body", source };
    let output = pipe::Receiver::from_owned_fd(output).map_err(failed)?;
    let chunks = stream::unfold(Some((output, Box::pin(end))), |state| async move {
        let (mut output, end) = state?;
        let mut piece = BytesMut::with_capacity(PIECE);
        match output.read_buf(&mut piece).await {
            Ok(1..) => Some((Ok(piece.freeze()), Some((output, end)))),
            Ok(0) => match end.await {
                Ok(()) => None,
                Err(why) => Some((Err(broken(why)), None)),
            },
            Err(error) => Some((Err(broken(error.to_string())), None)),
        }
    });
    Ok(reply::fallible_stream(kind, chunks))
}

fn broken(why: String) -> io::Error {
    tracing::warn!(error = why, "an archive broke off");
    io::Error::other(why)
}
