//! Where a daemon listens: `unix://PATH`, `tcp://HOST[:PORT]` or `ssh://[USER@]HOST[:PORT][/PATH]`, as in `DOCKER_HOST` and
//! `--host`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Docker's ports without TLS and with it.
const DEFAULT_PORT: &str = "2375";
const DEFAULT_TLS_PORT: &str = "2376";

/// An address that this client can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
    /// The same, behind TLS.
    Tls(String, Material),
    Ssh(Ssh),
}

/// What a client shows and wants to see in TLS; files of PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Material {
    /// Who may have signed the daemon's certificate; none: whoever it is.
    pub(crate) authority: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// A machine that is reached by ssh(1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ssh {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: String,
    /// The daemon's socket there; empty: the usual one.
    pub(crate) path: String,
}

impl Address {
    /// The socket in a state directory of ours.
    pub(crate) fn in_state(state: &Path) -> Address {
        Address::Unix(state.join("docker.sock"))
    }

    /// Reads what `--host` and `DOCKER_HOST` hold; with TLS if there is material for it.
    pub(crate) fn parse(text: &str, material: Option<Material>) -> Result<Address, Error> {
        let unknown = || Error::Address(text.into());
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Address::Unix(rest.into())),
            "tcp" => {
                let port = if material.is_some() { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
                let host = tcp(rest.strip_suffix('/').unwrap_or(rest), port).ok_or_else(unknown)?;
                Ok(match material {
                    Some(material) => Address::Tls(host, material),
                    None => Address::Tcp(host),
                })
            }
            "ssh" => ssh(rest).map(Address::Ssh).ok_or_else(unknown),
            "npipe" | "fd" | "http" | "https" => Err(Error::NotYet(format!("a {scheme}:// daemon"))),
            _ => Err(unknown()),
        }
    }
}

fn tcp(host: &str, default_port: &str) -> Option<String> {
    match split_port(host)? {
        (_, Some(_)) => Some(host.to_owned()),
        (host, None) => Some(format!("{host}:{default_port}")),
    }
}

/// A host and the port after it.
fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    // A literal IPv6 address has colons of its own, in brackets.
    let brackets = host.rfind(']').unwrap_or(0);
    let is_plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    match host[brackets..].split_once(':') {
        _ if !is_plain => None,
        Some(("", _)) => None,
        Some((before, port)) => {
            port.parse::<u16>().ok().map(|_| (&host[..brackets + before.len()], Some(port)))
        }
        None => Some((host, None)),
    }
}

/// ssh(1) is given host and user as words of their own, so that none of them is taken for an option.
fn ssh(rest: &str) -> Option<Ssh> {
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = split_port(host)?;
    // A password would be seen by everybody on this machine.
    let is_odd = |text: &str| text.contains(['?', '#', ':', ' ']) || text.starts_with('-');
    if is_odd(user) || host.starts_with('-') || path.contains(['?', '#', ' ']) || authority.starts_with('@') {
        return None;
    }
    Some(Ssh {
        user: user.to_owned(),
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: port.unwrap_or_default().to_owned(),
        path: if path == "/" { String::new() } else { path.to_owned() },
    })
}

impl Ssh {
    /// The words after `ssh`: Docker's, which ends in the other machine's own client.
    pub(crate) fn words(&self) -> Vec<&str> {
        let mut words = vec!["-o", "ConnectTimeout=30", "-T"];
        for (option, value) in [("-l", &self.user), ("-p", &self.port)] {
            if !value.is_empty() {
                words.extend([option, value]);
            }
        }
        words.extend(["--", &self.host, "docker"]);
        words
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(host) | Address::Tls(host, _) => write!(f, "tcp://{host}"),
            Address::Ssh(Ssh { user, host, port, path }) => {
                let user = if user.is_empty() { String::new() } else { format!("{user}@") };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let port = if port.is_empty() { String::new() } else { format!(":{port}") };
                write!(f, "ssh://{user}{host}{port}{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Material, Ssh};

    #[test]
    fn an_address_is_where_its_scheme_says() {
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
            ("ssh://a", Some("ssh://a")),
            ("ssh://me@a:22/", Some("ssh://me@a:22")),
            ("ssh://me@[::1]/run/docker.sock", Some("ssh://me@[::1]/run/docker.sock")),
            ("ssh://me:secret@a", None),
            ("ssh://@a", None),
            ("ssh://-oProxyCommand=x", None),
            ("ssh://-l@a", None),
            ("ssh://a:x", None),
            ("ssh://", None),
            ("https://a", None),
            ("/run/docker.sock", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Address::parse(text, None).ok().map(|address| address.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn tls_has_a_port_of_its_own() {
        let with_tls = |text| Address::parse(text, Some(Material::default())).unwrap();
        assert_eq!(with_tls("tcp://a"), Address::Tls("a:2376".into(), Material::default()));
        assert_eq!(with_tls("tcp://a:1"), Address::Tls("a:1".into(), Material::default()));
        assert_eq!(with_tls("unix:///a"), Address::Unix("/a".into()));
    }

    #[test]
    fn ssh_is_called_as_docker_calls_it() {
        let words = |text| match Address::parse(text, None).unwrap() {
            Address::Ssh(ssh) => Ssh::words(&ssh).join(" "),
            other => panic!("{other}"),
        };
        assert_eq!(words("ssh://a"), "-o ConnectTimeout=30 -T -- a docker");
        assert_eq!(words("ssh://me@[::1]:99/x"), "-o ConnectTimeout=30 -T -l me -p 99 -- ::1 docker");
    }
}
