//! What `corten-net` is told: which containers there are, what they are called, where their ports lead.
//!
//! It is started when the first container needs it, and found again by the next engine. When it is gone (somebody killed it), it is
//! started anew and gets new sockets for everything that runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, MutexGuard, PoisonError};

use ipnet::IpNet;
use network::firewall;
use network::namespace::Namespace;
use resident::{Client, Container, Membership, Port, Resolver};
use rustix::io::Errno;

use super::fabric::{Connected, DEFAULT_NETWORK, Fabric};
use super::ports::{self, HeldPort};
use super::{Endpoint, PublishedPort};
use crate::containers::spec::{EndpointSpec, Protocol};
use crate::error::Result;

/// The resolver's address in every container.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// A port that is free for UDP may be taken for TCP; other ones are tried.
const ATTEMPTS: u32 = 16;

impl Fabric {
    /// Tells about a container that is being connected, with its sockets.
    pub(crate) fn tell_resident(
        &self,
        connected: &Connected,
        namespace: &Namespace,
        held: &[HeldPort],
    ) -> Result<()> {
        if !connected.needs_resident() {
            return Ok(());
        }
        let resolver = match connected.upstreams {
            Some(_) => Some(open_resolver(namespace)?),
            None => None,
        };
        let keys: Vec<String> = held.iter().map(|port| key(&port.published)).collect();
        let sockets: Vec<_> =
            keys.iter().map(String::as_str).zip(held.iter().map(|port| port.socket.as_fd())).collect();
        let resolver = resolver.as_ref().map(|(udp, tcp)| (udp.as_fd(), tcp.as_fd()));
        Ok(self.resident()?.put(&describe(connected), resolver, &sockets)?)
    }

    /// Tells about new names or addresses of a container whose sockets are held.
    pub(crate) fn tell_names(&self, connected: &Connected) -> Result<()> {
        if connected.needs_resident() {
            self.resident()?.put(&describe(connected), None, &[])?;
        }
        Ok(())
    }

    /// Tells about a container that runs since before us, if `corten-net` does not know it any more.
    pub(crate) fn tell_again(&self, connected: &Connected, pid: u32) -> Result<()> {
        let namespace = Namespace::of_process(pid)?;
        let held = connected.state.ports.iter().map(ports::hold_again).collect::<Result<Vec<_>>>()?;
        self.tell_resident(connected, &namespace, &held)
    }

    /// The process, started if there is none.
    pub(crate) fn resident(&self) -> Result<Arc<Client>> {
        let mut place = self.resident_place();
        if let Some(client) = &*place {
            return Ok(client.clone());
        }
        let (directory, (program, arguments)) = self.resident_command();
        store::layout::private_dir(directory)?;
        let client = Arc::new(Client::start(program, arguments, directory)?);
        *place = Some(client.clone());
        drop(place);
        self.resident_came.send_replace(Some(client.clone()));
        Ok(client)
    }

    /// The process, if there is one that we are connected to.
    pub(crate) fn connected_resident(&self) -> Option<Arc<Client>> {
        self.resident_place().clone()
    }

    /// The process of an earlier engine, if there is one.
    pub(crate) fn find_resident(&self) -> Option<Arc<Client>> {
        let client = Arc::new(Client::find(self.resident_command().0)?);
        *self.resident_place() = Some(client.clone());
        self.resident_came.send_replace(Some(client.clone()));
        Some(client)
    }

    /// It is gone: the next one who needs it starts another.
    pub(crate) fn forget_resident(&self, gone: &Arc<Client>) {
        let mut place = self.resident_place();
        if place.as_ref().is_some_and(|client| Arc::ptr_eq(client, gone)) {
            *place = None;
        }
    }

    fn resident_place(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sockets in the container's namespace, and rules that lead its questions there.
fn open_resolver(namespace: &Namespace) -> Result<(OwnedFd, OwnedFd)> {
    let open = || {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        for _ in 0..ATTEMPTS {
            let udp = UdpSocket::bind((RESOLVER, 0)).map_err(errno)?;
            let address: SocketAddr = udp.local_addr().map_err(errno)?;
            match TcpListener::bind(address) {
                Ok(tcp) => return Ok((udp, tcp, address.port())),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(errno(error)),
            }
        }
        Err(Errno::ADDRINUSE)
    };
    let (udp, tcp, port) = namespace.run(open)?;
    firewall::redirect_dns(namespace, port, port)?;
    Ok((udp.into(), tcp.into()))
}

fn describe(connected: &Connected) -> Container {
    let in_networks = |endpoint: &&Endpoint| endpoint.network != DEFAULT_NETWORK;
    Container {
        id: connected.guest.id.clone(),
        memberships: connected
            .state
            .endpoints
            .iter()
            .filter(in_networks)
            .map(|endpoint| membership(endpoint, connected.guest.endpoint(&endpoint.network)))
            .collect(),
        resolver: connected.upstreams.clone().map(|upstreams| Resolver { upstreams }),
        ports: connected.state.ports.iter().filter_map(|port| described(connected, port)).collect(),
    }
}

fn membership(endpoint: &Endpoint, asked: Option<&EndpointSpec>) -> Membership {
    let links = asked.map(|asked| &asked.links).into_iter().flatten();
    Membership {
        network: endpoint.network_id.clone(),
        domain: endpoint.network.clone(),
        addresses: endpoint.addresses.iter().map(IpNet::addr).collect::<Vec<IpAddr>>(),
        names: endpoint.names.clone(),
        links: links
            .map(|link| resident::Link { alias: link.alias.clone(), name: link.container.clone() })
            .collect(),
    }
}

fn described(connected: &Connected, port: &PublishedPort) -> Option<Port> {
    Some(Port {
        key: key(port),
        protocol: match port.container.protocol {
            Protocol::Tcp => resident::Protocol::Tcp,
            Protocol::Udp => resident::Protocol::Udp,
        },
        target: connected.target(port)?,
    })
}

fn key(port: &PublishedPort) -> String {
    let address = SocketAddr::new(port.host_ip, port.host_port);
    format!("{}/{address}", port.container.protocol.as_str())
}
