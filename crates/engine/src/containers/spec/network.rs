//! What a client asks of a container's network.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Whose network the container uses. A container is named by id or name, and by its id once created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// A network namespace of its own with nothing but loopback.
    #[default]
    None,
    Host,
    Container(String),
    /// A network namespace of its own, connected to the networks of [`NetworkSpec::endpoints`].
    Networks,
}

/// Everything about the network but the mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Where the container is connected when it starts; the first network gives the default route.
    pub endpoints: Vec<EndpointSpec>,
    pub ports: Vec<PortSpec>,
    /// Publish every exposed port that `ports` does not, at a free port of the host.
    pub publish_all: bool,
    /// Ports that the container says it serves; merged with the image's.
    pub exposed: BTreeSet<Port>,
    /// Name servers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains instead of the host's; a single `.` means none.
    pub dns_search: Vec<String>,
    /// Options of `resolv.conf(5)` instead of the host's.
    pub dns_options: Vec<String>,
    /// Further lines of `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
}

/// A container's place in a network, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// Name, id, or unique prefix of an id; the name once the container is created.
    pub network: String,
    /// Further names that containers of the network find it by.
    pub aliases: Vec<String>,
    /// None: any free one.
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// None: one that follows from the address.
    pub mac: Option<[u8; 6]>,
    /// What the container calls others there.
    pub links: Vec<Link>,
    /// Further addresses of its interface, which nobody gives and nobody checks (169.254.0.0/16, fe80::/10).
    pub link_local: Vec<IpAddr>,
}

/// Another container under a name of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// In the default network its id, once the container is created; in others what the network knows it by, now or later.
    pub container: String,
    pub alias: String,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    pub name: String,
    /// None: the host itself (`host-gateway`).
    pub address: Option<IpAddr>,
}

/// A transport protocol of published ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

/// A port of the container to be reached through the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    pub container: Port,
    /// None: every address of the host, of both families.
    pub host_ip: Option<IpAddr>,
    /// The first free port of this range, ends included. None: any free port.
    pub host_ports: Option<(u16, u16)>,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl Port {
    /// Reads `80/tcp`; without a protocol it is TCP.
    pub fn parse(text: &str) -> Option<Port> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        Some(Port { number: number.parse().ok().filter(|number| *number > 0)?, protocol })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}
