//! What the daemon and `corten-net` say to each other: JSON in packets of a local socket, sockets as `SCM_RIGHTS`.
//!
//! ```text
//! daemon ─▶ one packet: a request, with the first descriptors; then packets of one byte with the others, sixteen at most in each
//! daemon ◀─ one packet: the answer
//! ```

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Changes with everything that an older process would not understand.
pub(crate) const VERSION: u32 = 2;
/// The largest packet: less than the kernel's default bound of what may wait in a socket.
pub(crate) const PACKET_MAX: usize = 160 << 10;
/// Descriptors of one request: the ports of a container for two address families, and its resolver.
pub(crate) const DESCRIPTORS_MAX: usize = 4096;

/// Everything about a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    /// The networks in which it is found by name, and finds others.
    pub memberships: Vec<Membership>,
    /// How it asks for names, if it asks us.
    pub resolver: Option<Resolver>,
    pub ports: Vec<Port>,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Id of the network.
    pub network: String,
    /// Its name: what follows a container's name in a full one.
    pub domain: String,
    pub addresses: Vec<IpAddr>,
    /// The first one is what its addresses are called.
    pub names: Vec<String>,
    /// What it alone calls others.
    pub links: Vec<Link>,
}

/// A container's own name for another one of its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub alias: String,
    /// A name of the other one.
    pub name: String,
}

/// A container's questions for names. Two sockets come with it: UDP, and TCP that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Whom to ask for what no container is called. None: nobody.
    pub upstreams: Vec<SocketAddr>,
}

/// A published port. Its socket comes with it, unless it is held already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Names the socket: `tcp/0.0.0.0:8080`.
    pub key: String,
    pub protocol: Protocol,
    /// In the container.
    pub target: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    Hello {
        version: u32,
    },
    /// `descriptors` come along: the resolver's two if `has_resolver`, then one for each of `sockets`, keys of ports.
    Put {
        container: Container,
        has_resolver: bool,
        sockets: Vec<String>,
    },
    Remove {
        container: String,
    },
    /// All others go.
    Sync {
        containers: Vec<String>,
    },
    /// Everything goes, and so does the process.
    End,
}

impl Request {
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Request::Put { has_resolver, sockets, .. } => sockets.len() + if *has_resolver { 2 } else { 0 },
            _ => 0,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) version: u32,
    /// Containers that are known.
    #[serde(default)]
    pub(crate) containers: Vec<String>,
    /// Empty: it was done.
    #[serde(default)]
    pub(crate) error: String,
}
