//! Bridges, veth pairs, addresses and routes, over rtnetlink(7).
//!
//! A container is attached with one message to the host's namespace (both ends of the pair, the bridge and the other namespace
//! are named in it), one question and one datagram to the container's. If one of them fails, the pair is removed again.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use ipnet::IpNet;
use linux::netlink::{self, CREATE, EXCLUSIVE, Message, Protocol, Socket, attribute, number_of, text_of};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::namespace::Namespace;

/// `RTM_…`
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
/// `IFLA_…`
const LINK_MAC: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_PORT_KIND: u16 = 4;
const INFO_PORT_DATA: u16 = 5;
/// `IFLA_BRPORT_MODE`: a packet may leave by the port that it came in by.
const PORT_HAIRPIN: u16 = 4;
/// `VETH_INFO_PEER`
const VETH_PEER: u16 = 1;
/// `IFLA_BR_…`
const BRIDGE_FORWARD_DELAY: u16 = 1;
const BRIDGE_STP: u16 = 5;
/// `IFA_…`
const ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;
const ADDRESS_FLAGS: u16 = 8;
/// `IFA_F_NODAD`: nobody else can have an address that we gave, so nobody waits for the answer.
const NO_DUPLICATE_DETECTION: u32 = 0x02;
/// `RTA_…`
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_TABLE: u16 = 15;
/// `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`, `RTPROT_BOOT`, `RT_SCOPE_UNIVERSE`, `RTN_UNICAST`
const MAIN_TABLE: u8 = 254;
const LOCAL_TABLE: u32 = 255;
const BY_BOOT: u8 = 3;
const UNIVERSE: u8 = 0;
const UNICAST: u8 = 1;
/// `IFF_UP`
const UP: u32 = 1;
/// Sizes of `ifinfomsg`, `ifaddrmsg` and `rtmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
/// `AF_BRIDGE`'s bound on ports (`BR_MAX_PORTS`).
const BRIDGE_PORTS_MAX: u32 = 1024;

/// The interfaces of one network namespace.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

/// A bridge to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// The host's own addresses on it.
    pub addresses: Vec<IpNet>,
    /// None: that of the interface with the default route.
    pub mtu: Option<u32>,
    pub is_ipv6: bool,
}

/// A container's interface to be, and its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub bridge: String,
    pub host_interface: String,
    /// In the container.
    pub interface: String,
    pub mac: [u8; 6],
    pub addresses: Vec<IpNet>,
    /// Where everything else goes.
    pub gateways: Vec<IpAddr>,
    /// None: the bridge's.
    pub mtu: Option<u32>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `bridge`, `veth`, …; empty for a real one.
    pub kind: String,
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub is_up: bool,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
}

/// A locally administered hardware address that belongs to an address: whoever remembers the one is right about the other.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Lets packets pass from one interface to another; Ok(true): they did not before. In the calling thread's namespace.
pub fn forwarding(is_ipv6: bool) -> Result<bool> {
    let mut changed = switch("/proc/sys/net/ipv4/ip_forward")?;
    if is_ipv6 {
        changed |= switch("/proc/sys/net/ipv6/conf/all/forwarding")?;
    }
    Ok(changed)
}

/// Whether packets pass from one interface to another.
pub fn is_forwarding() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

fn switch(path: &'static str) -> Result<bool> {
    let failed = |source: io::Error| Error::File { what: "switch on", path: path.into(), source };
    // Compared first: where it is right already, a read-only /proc is no obstacle.
    if fs::read_to_string(path).map_err(failed)?.trim() == "1" {
        return Ok(false);
    }
    fs::write(path, "1").map_err(failed)?;
    Ok(true)
}

impl Links {
    /// Those of the calling thread's namespace.
    pub fn open() -> Result<Links> {
        let socket = Socket::open(Protocol::Route)
            .map_err(|source| Error::Kernel { what: "open a route socket".into(), source })?;
        Ok(Links { socket })
    }

    pub(crate) fn new(socket: Socket) -> Links {
        Links { socket }
    }

    /// Makes a bridge, or completes the one of that name; its index.
    pub fn ensure_bridge(&self, bridge: &Bridge) -> Result<u32> {
        let mtu = match bridge.mtu {
            Some(mtu) => Some(mtu),
            None => self.default_mtu()?,
        };
        let mut made = Message::new(NEW_LINK, CREATE | EXCLUSIVE).put(&link_header(0, UP, UP));
        made = made.text(LINK_NAME, &bridge.name);
        if let Some(IpAddr::V4(address)) = bridge.addresses.first().map(IpNet::addr) {
            // One of its own: else a bridge takes the lowest of its ports, and every neighbour's cache is wrong.
            made = made.attribute(LINK_MAC, &mac_of(address));
        }
        if let Some(mtu) = mtu {
            made = made.attribute(LINK_MTU, &mtu.to_ne_bytes());
        }
        made = made.nested(LINK_INFO, |info| {
            info.text(INFO_KIND, "bridge").nested(INFO_DATA, |data| {
                data.attribute(BRIDGE_STP, &0_u32.to_ne_bytes())
                    .attribute(BRIDGE_FORWARD_DELAY, &0_u32.to_ne_bytes())
            })
        });
        match self.socket.request(made) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::EXIST => {}
            Err(error) => return Err(Error::refused(format!("make the bridge {}", bridge.name), error)),
        }
        let link = self.find(&bridge.name)?.ok_or_else(|| Error::Kernel {
            what: format!("find the bridge {}", bridge.name),
            source: Errno::NODEV,
        })?;
        if link.kind != "bridge" {
            return Err(Error::NoBridge { name: bridge.name.clone() });
        }
        if !link.is_up {
            self.raise(&bridge.name)?;
        }
        for address in &bridge.addresses {
            match self.socket.request(new_address(link.index, *address)) {
                Ok(()) => {}
                Err(error) if error.errno == Errno::EXIST => {}
                Err(error) => {
                    return Err(Error::refused(format!("give {} the address {address}", bridge.name), error));
                }
            }
        }
        Ok(link.index)
    }

    /// Removes an interface. Ok(false): there is none of that name.
    pub fn remove_link(&self, name: &str) -> Result<bool> {
        match self.socket.request(delete(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.errno == Errno::NODEV => Ok(false),
            Err(error) => Err(Error::refused(format!("remove the interface {name}"), error)),
        }
    }

    /// Whether a bridge has ports: interfaces of containers, ours or others'.
    pub fn has_ports(&self, bridge: &str) -> Result<bool> {
        let Some(bridge) = self.find(bridge)? else { return Ok(false) };
        Ok(self.list()?.iter().any(|link| link.master == Some(bridge.index)))
    }

    /// Connects a namespace to a bridge of this one. On failure nothing is left.
    pub fn attach(&self, namespace: &Namespace, endpoint: &Endpoint) -> Result<()> {
        let bridge = self.find(&endpoint.bridge)?.ok_or_else(|| Error::Kernel {
            what: format!("find the bridge {}", endpoint.bridge),
            source: Errno::NODEV,
        })?;
        let mtu = endpoint.mtu.unwrap_or(bridge.mtu);
        // Where the host lets a bridge's packets pass its rules, a container that reaches itself through a published port gets them
        // back by its own port.
        let pair = vec![new_pair(namespace, endpoint, bridge.index, mtu), hairpin(&endpoint.host_interface)];
        self.socket.pipeline(pair).map_err(|error| match error.errno {
            Errno::XFULL => Error::BridgeFull { name: endpoint.bridge.clone(), ports: BRIDGE_PORTS_MAX },
            _ => Error::refused(format!("connect a container to {}", endpoint.bridge), error),
        })?;
        let configured = namespace.links().configure(endpoint);
        if configured.is_err() {
            // The first error is the one that counts.
            let _gone_with_its_namespace = self.remove_link(&endpoint.host_interface);
        }
        configured
    }

    /// The container's side: addresses and routes.
    fn configure(&self, endpoint: &Endpoint) -> Result<()> {
        let link = self.find(&endpoint.interface)?.ok_or_else(|| Error::Kernel {
            what: format!("find {} in the container", endpoint.interface),
            source: Errno::NODEV,
        })?;
        let mut messages = vec![Message::new(NEW_LINK, 0).put(&link_header(link.index, UP, UP))];
        messages.extend(endpoint.addresses.iter().map(|address| new_address(link.index, *address)));
        messages.extend(endpoint.gateways.iter().map(|gateway| default_route(link.index, *gateway)));
        self.socket.pipeline(messages).map_err(|error| {
            Error::refused(format!("configure {} in the container", endpoint.interface), error)
        })
    }

    /// Adds default routes through an interface that is there.
    pub fn add_default_routes(&self, interface: &str, gateways: &[IpAddr]) -> Result<()> {
        let Some(link) = self.find(interface)? else { return Ok(()) };
        let routes = gateways.iter().map(|gateway| default_route(link.index, *gateway)).collect();
        match self.socket.pipeline(routes) {
            // There is another way out already.
            Err(error) if error.errno != Errno::EXIST => {
                Err(Error::refused(format!("route through {interface}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Every interface.
    pub fn list(&self) -> Result<Vec<Link>> {
        let question = Message::new(GET_LINK, 0).put(&link_header(0, 0, 0));
        let answers = self.dump(&question, "list interfaces")?;
        Ok(answers.iter().filter_map(|(_, payload)| read_link(payload)).collect())
    }

    /// The interface of that name.
    pub fn find(&self, name: &str) -> Result<Option<Link>> {
        let question = Message::new(GET_LINK, 0).put(&link_header(0, 0, 0)).text(LINK_NAME, name);
        match self.socket.get(question) {
            Ok(payload) => Ok(read_link(&payload)),
            Err(error) if error.errno == Errno::NODEV => Ok(None),
            Err(error) => Err(Error::refused(format!("look for the interface {name}"), error)),
        }
    }

    /// Every prefix of an interface and of a route but the default one.
    pub fn prefixes(&self) -> Result<Vec<IpNet>> {
        let question = Message::new(GET_ADDRESS, 0).put(&[0; ADDRESS_HEADER]);
        let addresses = self.dump(&question, "list addresses")?;
        let mut found: Vec<IpNet> =
            addresses.iter().filter_map(|(_, payload)| read_address(payload)).collect();
        let question = Message::new(GET_ROUTE, 0).put(&[0; ROUTE_HEADER]);
        let routes = self.dump(&question, "list routes")?;
        found.extend(routes.iter().filter_map(|(_, payload)| read_route(payload)?.prefix));
        found.iter_mut().for_each(|prefix| *prefix = prefix.trunc());
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The largest packet of the interface with the default route.
    fn default_mtu(&self) -> Result<Option<u32>> {
        let question = Message::new(GET_ROUTE, 0).put(&[0; ROUTE_HEADER]);
        let routes = self.dump(&question, "list routes")?;
        let mut routes = routes.iter().filter_map(|(_, payload)| read_route(payload));
        let Some(index) = routes.find(|route| route.prefix.is_none() && route.is_gateway) else {
            return Ok(None);
        };
        Ok(self.list()?.into_iter().find(|link| Some(link.index) == index.interface).map(|link| link.mtu))
    }

    /// Switches an interface on.
    pub fn raise(&self, name: &str) -> Result<()> {
        let raised = Message::new(NEW_LINK, 0).put(&link_header(0, UP, UP)).text(LINK_NAME, name);
        self.socket
            .request(raised)
            .map_err(|error| Error::refused(format!("switch on the interface {name}"), error))
    }

    fn dump(&self, question: &Message, what: &str) -> Result<netlink::Dumped> {
        self.socket.dump(question).map_err(|error| Error::refused(what.to_owned(), error))
    }
}

/// `struct ifinfomsg`
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

fn delete(name: &str) -> Message {
    Message::new(DEL_LINK, 0).put(&link_header(0, 0, 0)).text(LINK_NAME, name)
}

/// Both ends of a pair: ours a port of the bridge and up, the other in the namespace.
fn new_pair(namespace: &Namespace, endpoint: &Endpoint, bridge: u32, mtu: u32) -> Message {
    Message::new(NEW_LINK, CREATE | EXCLUSIVE)
        .put(&link_header(0, UP, UP))
        .text(LINK_NAME, &endpoint.host_interface)
        .attribute(LINK_MTU, &mtu.to_ne_bytes())
        .attribute(LINK_MASTER, &bridge.to_ne_bytes())
        .nested(LINK_INFO, |info| {
            info.text(INFO_KIND, "veth").nested(INFO_DATA, |data| {
                data.nested(VETH_PEER, |peer| {
                    // It cannot be up before it has its other end.
                    peer.put(&link_header(0, 0, 0))
                        .text(LINK_NAME, &endpoint.interface)
                        .attribute(LINK_MAC, &endpoint.mac)
                        .attribute(LINK_MTU, &mtu.to_ne_bytes())
                        .descriptor(LINK_NAMESPACE, namespace.as_fd())
                })
            })
        })
}

fn hairpin(name: &str) -> Message {
    Message::new(NEW_LINK, 0).put(&link_header(0, 0, 0)).text(LINK_NAME, name).nested(LINK_INFO, |info| {
        info.text(INFO_PORT_KIND, "bridge").nested(INFO_PORT_DATA, |data| data.attribute(PORT_HAIRPIN, &[1]))
    })
}

fn new_address(index: u32, prefix: IpNet) -> Message {
    let family = if prefix.addr().is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    let mut header = [0; ADDRESS_HEADER];
    (header[0], header[1]) = (family, prefix.prefix_len());
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let message = Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE).put(&header);
    let bytes = octets(prefix.addr());
    let message = message.attribute(ADDRESS_LOCAL, &bytes).attribute(ADDRESS, &bytes);
    match prefix {
        IpNet::V4(prefix) => message.attribute(ADDRESS_BROADCAST, &prefix.broadcast().octets()),
        IpNet::V6(_) => message.attribute(ADDRESS_FLAGS, &NO_DUPLICATE_DETECTION.to_ne_bytes()),
    }
}

fn default_route(index: u32, gateway: IpAddr) -> Message {
    let family = if gateway.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[4], header[5]) = (family, MAIN_TABLE, BY_BOOT);
    (header[6], header[7]) = (UNIVERSE, UNICAST);
    Message::new(NEW_ROUTE, CREATE | EXCLUSIVE)
        .put(&header)
        .attribute(ROUTE_GATEWAY, &octets(gateway))
        .attribute(ROUTE_INTERFACE, &index.to_ne_bytes())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

fn read_link(payload: &[u8]) -> Option<Link> {
    let header: &[u8; LINK_HEADER] = payload.first_chunk()?;
    let attributes = &payload[LINK_HEADER..];
    let info = attribute(attributes, LINK_INFO).unwrap_or_default();
    Some(Link {
        index: number_of(&header[4..8])?,
        is_up: number_of(&header[8..12])? & UP != 0,
        name: attribute(attributes, LINK_NAME).map(text_of)?,
        kind: attribute(info, INFO_KIND).map(text_of).unwrap_or_default(),
        mac: attribute(attributes, LINK_MAC).unwrap_or_default().to_vec(),
        mtu: attribute(attributes, LINK_MTU).and_then(number_of)?,
        master: attribute(attributes, LINK_MASTER).and_then(number_of),
    })
}

fn read_address(payload: &[u8]) -> Option<IpNet> {
    let header: &[u8; ADDRESS_HEADER] = payload.first_chunk()?;
    let address = attribute(&payload[ADDRESS_HEADER..], ADDRESS).and_then(address_of)?;
    IpNet::new(address, header[1]).ok()
}

/// A route, as far as it matters here.
struct Route {
    /// None: the default route.
    prefix: Option<IpNet>,
    is_gateway: bool,
    interface: Option<u32>,
}

/// None: a route of the kernel's own tables, or one that cannot be read.
fn read_route(payload: &[u8]) -> Option<Route> {
    let header: &[u8; ROUTE_HEADER] = payload.first_chunk()?;
    let attributes = &payload[ROUTE_HEADER..];
    let table = attribute(attributes, ROUTE_TABLE).and_then(number_of).unwrap_or(header[4].into());
    if table == LOCAL_TABLE {
        return None;
    }
    let destination = attribute(attributes, ROUTE_DESTINATION).and_then(address_of);
    Some(Route {
        prefix: destination.and_then(|address| IpNet::new(address, header[1]).ok()),
        is_gateway: attribute(attributes, ROUTE_GATEWAY).is_some(),
        interface: attribute(attributes, ROUTE_INTERFACE).and_then(number_of),
    })
}

impl Error {
    /// The kernel's refusal of a request.
    pub(crate) fn refused(what: String, error: netlink::Error) -> Error {
        Error::Refused { what, source: error }
    }
}
