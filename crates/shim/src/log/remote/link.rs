//! The socket to a collector: streams and datagrams, never blocking.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, getpeername, socket_with,
};

/// What a collector says is short.
const HEAR_MAX: usize = 1024;

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    UnixDatagram(PathBuf),
}

impl Address {
    /// Reads `tcp://1.2.3.4:5`, `udp://[::1]:5`, `unix:///path`, `unixgram:///path`.
    pub(super) fn parse(text: &str) -> Option<Address> {
        let (scheme, rest) = text.split_once("://")?;
        Some(match scheme {
            "tcp" => Address::Tcp(rest.parse().ok()?),
            "udp" => Address::Udp(rest.parse().ok()?),
            "unix" => Address::Unix(rest.into()),
            "unixgram" => Address::UnixDatagram(rest.into()),
            _ => return None,
        })
    }

    /// Begins to connect.
    pub(super) fn connect(&self) -> io::Result<Socket> {
        let kind = match self {
            Address::Tcp(_) | Address::Unix(_) => SocketType::STREAM,
            Address::Udp(_) | Address::UnixDatagram(_) => SocketType::DGRAM,
        };
        let family = match self {
            Address::Tcp(SocketAddr::V4(_)) | Address::Udp(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Tcp(SocketAddr::V6(_)) | Address::Udp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Address::Unix(_) | Address::UnixDatagram(_) => AddressFamily::UNIX,
        };
        let descriptor = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        let begun = match self {
            Address::Tcp(address) | Address::Udp(address) => connect(&descriptor, address),
            Address::Unix(path) | Address::UnixDatagram(path) => {
                connect(&descriptor, &SocketAddrUnix::new(path)?)
            }
        };
        match begun {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Socket {
            descriptor,
            kind: if kind == SocketType::STREAM { Kind::Stream } else { Kind::Datagram },
        })
    }
}

impl fmt::Display for Address {
    /// As Go names it in its errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "dial tcp {address}"),
            Address::Udp(address) => write!(f, "dial udp {address}"),
            Address::Unix(path) => write!(f, "dial unix {}", path.display()),
            Address::UnixDatagram(path) => write!(f, "dial unixgram {}", path.display()),
        }
    }
}

/// A socket that is connected, or about to be.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Datagram,
}

impl Socket {
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind == Kind::Stream
    }

    /// Waits until it is connected: only while nothing else depends on this thread.
    pub(super) fn wait(self, timeout: Duration) -> io::Result<Socket> {
        let timeout =
            Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::OUT)];
        if poll(&mut polled, Some(&timeout))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connected()?;
        Ok(self)
    }

    /// The error that ended the connecting, if one did.
    pub(super) fn connected(&self) -> io::Result<()> {
        Ok(socket_error(&self.descriptor)??)
    }

    /// Whether there is another end.
    pub(super) fn is_connected(&self) -> bool {
        getpeername(&self.descriptor).is_ok_and(|peer| peer.is_some()) || self.kind == Kind::Datagram
    }

    /// What the collector says; its end is an error.
    pub(super) fn hear(&self) -> io::Result<Vec<u8>> {
        let mut said = [0; HEAR_MAX];
        match rustix::io::read(&self.descriptor, &mut said) {
            Ok(0) if self.is_stream() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(said[..length].to_vec()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            // A datagram before had no reader; the next one may have.
            Err(Errno::CONNREFUSED) if !self.is_stream() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes messages, of the first one what is after `written`; how much it took. 0: nothing for now.
    pub(super) fn write<'a>(
        &self,
        messages: impl Iterator<Item = &'a Vec<u8>>,
        written: usize,
    ) -> io::Result<usize> {
        let mut slices: Vec<IoSlice<'_>> = messages.map(|message| IoSlice::new(message)).collect();
        if let Some(first) = slices.first_mut() {
            first.advance(written);
        }
        loop {
            match rustix::io::writev(&self.descriptor, &slices) {
                Ok(length) => return Ok(length),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                // What a datagram before was answered with; this one may have a reader.
                Err(Errno::CONNREFUSED) if self.is_udp() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the message that was just written is longer than a datagram may be.
    pub(super) fn is_too_long(&self, error: &io::Error) -> bool {
        !self.is_stream() && error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error())
    }

    fn is_udp(&self) -> bool {
        self.kind == Kind::Datagram
            && getpeername(&self.descriptor)
                .is_ok_and(|peer| peer.is_some_and(|peer| peer.address_family() != AddressFamily::UNIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_four_kinds() {
        assert_eq!(Address::parse("tcp://127.0.0.1:5"), Some(Address::Tcp(([127, 0, 0, 1], 5).into())));
        assert_eq!(Address::parse("udp://[::1]:5").unwrap().to_string(), "dial udp [::1]:5");
        assert_eq!(Address::parse("unix:///dev/log"), Some(Address::Unix("/dev/log".into())));
        assert_eq!(Address::parse("unixgram:///x"), Some(Address::UnixDatagram("/x".into())));
        for text in ["tcp://host:5", "tls://127.0.0.1:5", "/dev/log", ""] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
