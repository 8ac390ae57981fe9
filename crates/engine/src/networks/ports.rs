//! Ports of the host: held by a socket from the moment that they are chosen, so that nobody else gets them.
//!
//! The sockets go to `corten-net`, which outlives us. The kernel sends nearly everything to the container before it reaches a socket;
//! what does arrive (from the host to itself, over the other address family) `corten-net` passes on.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

use super::PublishedPort;
use crate::containers::spec::{PortSpec, Protocol};
use crate::error::{Error, Result};

/// Free ports that are tried when one family has a port and the other has not.
const ATTEMPTS: u32 = 32;
/// Connections that wait to be accepted; the kernel lowers it to its own bound.
const BACKLOG: i32 = 4096;

/// A port of the host that is ours.
#[derive(Debug)]
pub(crate) struct HeldPort {
    pub(crate) published: PublishedPort,
    pub(crate) socket: OwnedFd,
}

/// Who has a port of the host that somebody else asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortHolder {
    /// One of our containers, by name.
    Container(String),
    Process {
        program: String,
        pid: u32,
    },
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortHolder::Container(name) => write!(f, "container `{name}`"),
            PortHolder::Process { program, pid } => write!(f, "`{program}` (process {pid})"),
        }
    }
}

/// Takes the ports that a container asks for; for each, one socket for every address family.
pub(crate) fn hold(spec: &PortSpec) -> Result<Vec<HeldPort>> {
    let addresses = addresses(spec.host_ip);
    let Some((first, last)) = spec.host_ports else { return hold_any(spec, &addresses) };
    let mut refused = None;
    for port in first..=last {
        match hold_at(spec, &addresses, port) {
            Ok(held) => return Ok(held),
            Err((address, Errno::ADDRINUSE)) => drop(refused.get_or_insert(address)),
            Err((address, errno)) => return Err(cannot_bind(spec.container.protocol, address, errno)),
        }
    }
    let address = refused.expect("a range has at least one port");
    Err(taken(spec.container.protocol, address))
}

/// Takes one published port again, as it was.
pub(crate) fn hold_again(published: &PublishedPort) -> Result<HeldPort> {
    let address = SocketAddr::new(published.host_ip, published.host_port);
    let protocol = published.container.protocol;
    let socket = open(protocol, address).map_err(|errno| cannot_bind(protocol, address, errno))?;
    Ok(HeldPort { published: published.clone(), socket })
}

fn addresses(host_ip: Option<IpAddr>) -> Vec<IpAddr> {
    match host_ip {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

fn hold_any(spec: &PortSpec, addresses: &[IpAddr]) -> Result<Vec<HeldPort>> {
    let protocol = spec.container.protocol;
    for _ in 0..ATTEMPTS {
        // The kernel knows a free port of the first family; whether the other has it too is tried.
        let first = SocketAddr::new(addresses[0], 0);
        let socket = open(protocol, first).map_err(|errno| cannot_bind(protocol, first, errno))?;
        let port = port_of(&socket).map_err(|errno| cannot_bind(protocol, first, errno))?;
        let mut held = vec![HeldPort { published: published(spec, addresses[0], port), socket }];
        match hold_at(spec, &addresses[1..], port) {
            Ok(others) => {
                held.extend(others);
                return Ok(held);
            }
            Err((_, Errno::ADDRINUSE)) => {}
            Err((address, errno)) => return Err(cannot_bind(protocol, address, errno)),
        }
    }
    Err(Error::PortTaken { protocol, address: SocketAddr::new(addresses[0], 0), holder: None })
}

/// All addresses at one port, or none of them.
fn hold_at(spec: &PortSpec, addresses: &[IpAddr], port: u16) -> Result<Vec<HeldPort>, (SocketAddr, Errno)> {
    let mut held = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        match open(spec.container.protocol, at) {
            Ok(socket) => held.push(HeldPort { published: published(spec, *address, port), socket }),
            // A host without IPv6 has only the other half.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if spec.host_ip.is_none() && address.is_ipv6() => {}
            Err(errno) => return Err((at, errno)),
        }
    }
    Ok(held)
}

fn published(spec: &PortSpec, host_ip: IpAddr, host_port: u16) -> PublishedPort {
    PublishedPort { container: spec.container, host_ip, host_port }
}

fn open(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of the last container that had the port may still linger.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn port_of(socket: &OwnedFd) -> Result<u16, Errno> {
    Ok(SocketAddr::try_from(getsockname(socket)?)?.port())
}

fn taken(protocol: Protocol, address: SocketAddr) -> Error {
    Error::PortTaken { protocol, address, holder: holder(protocol, address.port()) }
}

fn cannot_bind(protocol: Protocol, address: SocketAddr, errno: Errno) -> Error {
    match errno {
        Errno::ADDRINUSE => taken(protocol, address),
        errno => Error::Port { address, source: errno.into() },
    }
}

/// The process that has a port of the host, as far as it can be seen.
fn holder(protocol: Protocol, port: u16) -> Option<PortHolder> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inode = tables.iter().find_map(|table| inode_of(&fs::read_to_string(table).ok()?, port))?;
    process_with(&format!("socket:[{inode}]")).ok()?
}

/// The inode of the socket that is bound to a port and connected to nobody, in proc(5)'s table of sockets.
fn inode_of(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let own = fields.get(1)?.rsplit_once(':')?.1;
        let peer = fields.get(2)?.rsplit_once(':')?.1;
        let is_it = u16::from_str_radix(own, 16).ok()? == port && u16::from_str_radix(peer, 16).ok()? == 0;
        if is_it { fields.get(9)?.parse().ok() } else { None }
    })
}

fn process_with(target: &str) -> io::Result<Option<PortHolder>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ends meanwhile has nothing.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has_it = descriptors
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == target));
        if has_it {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Ok(Some(PortHolder::Process { program: name.trim().to_owned(), pid }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::spec::Port;

    fn spec(protocol: Protocol, host_ip: Option<&str>, host_ports: Option<(u16, u16)>) -> PortSpec {
        let host_ip = host_ip.map(|text| text.parse().unwrap());
        PortSpec { container: Port { number: 80, protocol }, host_ip, host_ports }
    }

    #[test]
    fn a_free_port_is_the_same_for_both_families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = hold(&spec(protocol, None, None)).unwrap();
            assert!(held.iter().all(|one| one.published.host_port == held[0].published.host_port));
            assert_eq!(held.iter().filter(|one| one.published.host_ip.is_ipv4()).count(), 1);
        }
    }

    #[test]
    fn a_range_gives_its_first_free_port_and_a_taken_one_names_its_holder() {
        let other = hold(&spec(Protocol::Tcp, Some("127.0.0.1"), None)).unwrap();
        let port = other[0].published.host_port;
        let last = port.saturating_add(5);
        let held = hold(&spec(Protocol::Tcp, Some("127.0.0.1"), Some((port, last)))).unwrap();
        assert!((port + 1..=last).contains(&held[0].published.host_port));
        let error = hold(&spec(Protocol::Tcp, Some("127.0.0.1"), Some((port, port)))).unwrap_err();
        let Error::PortTaken { address, holder: Some(PortHolder::Process { pid, .. }), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((address.port(), *pid), (port, std::process::id()));
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("Bind for 127.0.0.1:{port} failed: port is already allocated")),
            "{text}"
        );
        drop(other);
        assert_eq!(
            hold_again(&PublishedPort { host_port: port, ..held[0].published.clone() })
                .unwrap()
                .published
                .host_port,
            port
        );
    }

    #[test]
    fn an_address_that_is_not_the_host_s_is_an_error_of_its_own() {
        let error = hold(&spec(Protocol::Tcp, Some("192.0.2.77"), Some((1, 1)))).unwrap_err();
        assert!(matches!(error, Error::Port { .. }), "{error:?}");
    }

    #[test]
    fn the_kernel_s_table_tells_who_listens() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n\
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n";
        assert_eq!((inode_of(table, 8080), inode_of(table, 81)), (Some(12), None));
    }
}
