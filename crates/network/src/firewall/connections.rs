//! Connections that the kernel remembers: those to a port that has just been published, or is no more, are forgotten.
//!
//! Only datagrams need it: a client that goes on sending would reach the last container for ever, as every datagram renews the memory.
//! A connection of TCP ends by itself.

use std::net::IpAddr;

use linux::netlink::{Message, Protocol as Netlink, Socket, attribute};
use rustix::io::Errno;

use super::{PortRule, Protocol, rules};
use crate::error::{Error, Result};

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`, `CTA_PROTO_NUM`, `CTA_PROTO_DST_PORT`
const ORIGINAL: u16 = 1;
const TUPLE_ADDRESS: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
/// `CTA_IP_V4_DST`, `CTA_IP_V6_DST`
const DESTINATION_V4: u16 = 2;
const DESTINATION_V6: u16 = 4;

/// Makes the kernel forget what it knows of datagrams to these ports of the host.
pub(super) fn forget(ports: &[PortRule]) -> Result<()> {
    if !ports.iter().any(|port| port.protocol == Protocol::Udp) {
        return Ok(());
    }
    let failed = |error| Error::refused("forget connections to published ports".into(), error);
    let socket = Socket::open(Netlink::Netfilter)
        .map_err(|source| Error::Kernel { what: "open a connection tracking socket".into(), source })?;
    for family in [2_u8, 10] {
        let known = socket.dump(&Message::new(GET, 0).put(&[family, 0, 0, 0])).map_err(failed)?;
        let tuples = known.iter().filter_map(|(_, payload)| attribute(payload.get(4..)?, ORIGINAL));
        for tuple in tuples.filter(|tuple| ports.iter().any(|port| is_to(tuple, port))) {
            // A nested attribute, as it came.
            let gone =
                Message::new(DELETE, 0).put(&[family, 0, 0, 0]).nested(ORIGINAL, |inner| inner.put(tuple));
            match socket.request(gone) {
                Ok(()) => {}
                // It has ended meanwhile.
                Err(error) if error.errno == Errno::NOENT => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

fn is_to(tuple: &[u8], port: &PortRule) -> bool {
    let protocol = attribute(tuple, TUPLE_PROTOCOL).unwrap_or_default();
    let is_protocol = attribute(protocol, NUMBER) == Some(&[rules::protocol_number(port.protocol)]);
    let is_port = attribute(protocol, DESTINATION_PORT) == Some(&port.host_port.to_be_bytes());
    let addresses = attribute(tuple, TUPLE_ADDRESS).unwrap_or_default();
    let is_address = match port.host {
        None => true,
        Some(IpAddr::V4(host)) => attribute(addresses, DESTINATION_V4) == Some(&host.octets()[..]),
        Some(IpAddr::V6(host)) => attribute(addresses, DESTINATION_V6) == Some(&host.octets()[..]),
    };
    port.protocol == Protocol::Udp && is_protocol && is_port && is_address
}
