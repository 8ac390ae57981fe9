//! A connection that HTTP has let go of: two streams of bytes.
//!
//! It is handed out as blocking sockets, because the two copy loops of an attach run on threads of their own: a terminal
//! that does not read its output must not keep a signal from reaching the container.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use hyper::body::Bytes;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;

use crate::error::Error;

/// Both directions of a hijacked connection.
#[derive(Debug)]
pub(crate) struct Hijacked {
    /// What came with the answer's head.
    pub(crate) head: Bytes,
    pub(crate) reader: Socket,
    pub(crate) writer: Socket,
}

/// A blocking socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Takes the socket out of an upgraded connection.
pub(crate) fn take(upgraded: Upgraded) -> Result<Hijacked, Error> {
    let (socket, head) = match upgraded.downcast::<TokioIo<tokio::net::UnixStream>>() {
        Ok(Parts { io, read_buf, .. }) => {
            (io.into_inner().into_std().map_err(Error::Lost).map(Socket::Unix)?, read_buf)
        }
        Err(upgraded) => {
            let Parts { io, read_buf, .. } = upgraded
                .downcast::<TokioIo<tokio::net::TcpStream>>()
                .expect("a connection is a Unix or a TCP socket");
            (io.into_inner().into_std().map_err(Error::Lost).map(Socket::Tcp)?, read_buf)
        }
    };
    let (reader, writer) = socket.split().map_err(Error::Lost)?;
    Ok(Hijacked { head, reader, writer })
}

impl Socket {
    /// One for each direction.
    pub(crate) fn split(self) -> io::Result<(Socket, Socket)> {
        Ok(match self {
            Socket::Unix(socket) => {
                socket.set_nonblocking(false)?;
                (Socket::Unix(socket.try_clone()?), Socket::Unix(socket))
            }
            Socket::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                (Socket::Tcp(socket.try_clone()?), Socket::Tcp(socket))
            }
        })
    }

    /// Tells the other side that nothing more comes.
    pub(crate) fn end(&self) -> io::Result<()> {
        match self {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.read(buffer),
            Socket::Tcp(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.write(buffer),
            Socket::Tcp(socket) => socket.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
