//! Connections to a container's streams, also before it runs.
//!
//! Docker's clients attach to a container first and start it then. The stream is therefore handed out at once; its two
//! halves are filled in when the task exists, and before its program runs, so that nothing is missed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use crate::error::Result;

/// What to attach to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A connection to the streams of a process.
///
/// Reading gives Docker's frames, or raw bytes when the process has a terminal, and ends when all output has; writing
/// feeds its stdin, shutting down ends it. A stream to a container that was not started yet waits for its start, and
/// ends if that fails.
#[derive(Debug)]
pub struct AttachStream {
    reader: Half<OwnedReadHalf>,
    writer: Half<OwnedWriteHalf>,
}

/// The other end of a stream that waits.
#[derive(Debug)]
pub(crate) struct PendingAttach {
    options: AttachOptions,
    reader: oneshot::Sender<OwnedReadHalf>,
    writer: oneshot::Sender<OwnedWriteHalf>,
}

#[derive(Debug)]
enum Half<T> {
    Waiting(oneshot::Receiver<T>),
    Connected(T),
    Gone,
}

impl AttachStream {
    /// A stream to come, and where to deliver it.
    pub(crate) fn pending(options: AttachOptions) -> (AttachStream, PendingAttach) {
        let (reader_sender, reader) = oneshot::channel();
        let (writer_sender, writer) = oneshot::channel();
        let stream = AttachStream { reader: Half::Waiting(reader), writer: Half::Waiting(writer) };
        (stream, PendingAttach { options, reader: reader_sender, writer: writer_sender })
    }

    pub(crate) fn connected(stream: UnixStream) -> AttachStream {
        let (reader, writer) = stream.into_split();
        AttachStream { reader: Half::Connected(reader), writer: Half::Connected(writer) }
    }
}

impl PendingAttach {
    pub(crate) fn options(&self) -> AttachOptions {
        self.options
    }

    /// Whether the client still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.reader.is_closed() || !self.writer.is_closed()
    }

    /// Delivers; a failure ends the client's stream.
    pub(crate) fn connect(self, stream: Result<UnixStream>) {
        match stream {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                // A client that went away hangs up by not taking its halves.
                drop((self.reader.send(reader), self.writer.send(writer)));
            }
            Err(error) => tracing::warn!(error = %error.chain(), "a client could not be attached"),
        }
    }
}

impl<T: Unpin> Half<T> {
    /// The half once it is there; None when it never will be.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<&mut T>> {
        if let Half::Waiting(receiver) = self {
            *self = match ready!(Pin::new(receiver).poll(context)) {
                Ok(half) => Half::Connected(half),
                Err(_) => Half::Gone,
            };
        }
        Poll::Ready(match self {
            Half::Connected(half) => Some(half),
            Half::Waiting(_) | Half::Gone => None,
        })
    }
}

impl AsyncRead for AttachStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.reader.poll(context)) {
            Some(reader) => Pin::new(reader).poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for AttachStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.writer.poll(context)) {
            Some(writer) => Pin::new(writer).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.writer.poll(context)) {
            Some(writer) => Pin::new(writer).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.writer.poll(context)) {
            Some(writer) => Pin::new(writer).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_halves_of_a_waiting_stream_wake_when_it_is_connected() {
        let (stream, pending) = AttachStream::pending(AttachOptions::default());
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = tokio::spawn(async move {
            let mut text = String::new();
            reader.read_to_string(&mut text).await.unwrap();
            text
        });
        let write = tokio::spawn(async move {
            writer.write_all(b"in").await.unwrap();
            writer.shutdown().await.unwrap();
        });
        tokio::task::yield_now().await;
        let (mine, mut theirs) = UnixStream::pair().unwrap();
        pending.connect(Ok(mine));
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        theirs.write_all(b"out").await.unwrap();
        drop(theirs);
        write.await.unwrap();
        assert_eq!((text.as_str(), read.await.unwrap().as_str()), ("in", "out"));
    }

    #[tokio::test]
    async fn a_stream_that_is_never_connected_ends() {
        let (mut stream, pending) = AttachStream::pending(AttachOptions::default());
        drop(pending);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(stream.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
