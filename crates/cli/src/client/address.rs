//! Where a daemon listens: `unix://PATH` or `tcp://HOST[:PORT]`, as in `DOCKER_HOST` and `--host`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Docker's port without TLS.
const DEFAULT_PORT: &str = "2375";

/// An address that this client can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl Address {
    /// The socket in a state directory of ours.
    pub(crate) fn in_state(state: &Path) -> Address {
        Address::Unix(state.join("docker.sock"))
    }

    /// Reads what `--host` and `DOCKER_HOST` hold.
    pub(crate) fn parse(text: &str) -> Result<Address, Error> {
        let unknown = || Error::Address(text.into());
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Address::Unix(rest.into())),
            "tcp" => tcp(rest.strip_suffix('/').unwrap_or(rest)).map(Address::Tcp).ok_or_else(unknown),
            "ssh" | "npipe" | "fd" | "http" | "https" => Err(Error::NotYet(format!("a {scheme}:// daemon"))),
            _ => Err(unknown()),
        }
    }
}

fn tcp(host: &str) -> Option<String> {
    // A literal IPv6 address has colons of its own, in brackets.
    let after_brackets = host.rfind(']').map_or(host, |end| &host[end..]);
    let is_plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    match after_brackets.split_once(':') {
        _ if !is_plain => None,
        Some(("", _)) => None,
        Some((_, port)) => port.parse::<u16>().ok().map(|_| host.to_owned()),
        None => Some(format!("{host}:{DEFAULT_PORT}")),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_unix_sockets_or_tcp() {
        let cases = [
            ("unix:///run/docker.sock", Some("unix:///run/docker.sock")),
            ("tcp://localhost:2376", Some("tcp://localhost:2376")),
            ("tcp://10.0.0.1/", Some("tcp://10.0.0.1:2375")),
            ("tcp://[::1]", Some("tcp://[::1]:2375")),
            ("tcp://[::1]:99", Some("tcp://[::1]:99")),
            ("unix://relative", None),
            ("unix://", None),
            ("tcp://", None),
            ("tcp://:80", None),
            ("tcp://a:b", None),
            ("tcp://a/b", None),
            ("ssh://a", None),
            ("/run/docker.sock", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Address::parse(text).ok().map(|address| address.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
