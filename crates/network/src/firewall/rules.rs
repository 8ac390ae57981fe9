//! The rules themselves, in the order of the table in the module above. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{NetworkRules, PortRule, Protocol, Ruleset};
use crate::nft::{
    Base, Batch, DSTNAT, DataType, Element, Expression, FILTER, FORWARD, Family, Hook, LOCAL_OUT,
    POST_ROUTING, PRE_ROUTING, SRCNAT, Verdict,
};

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`
const V4: u8 = 2;
const V6: u8 = 10;
/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and of `IP_CT_RELATED`; `IPS_DST_NAT`
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const DESTINATION_CHANGED: u32 = 1 << 5;
/// `RTN_LOCAL`
const LOCAL: u32 = 2;
/// `IFNAMSIZ`
const INTERFACE_NAME_SIZE: usize = 16;

/// Where addresses are in their header: (source, destination, length).
const V4_ADDRESSES: (u32, u32, u32) = (12, 16, 4);
const V6_ADDRESSES: (u32, u32, u32) = (8, 24, 16);

/// The whole table.
pub(super) fn table(batch: &mut Batch, table: &str, ruleset: &Ruleset) {
    batch.add_table(Family::Inet, table);
    sets(batch, table);
    for (chain, hook) in [
        ("published", None),
        ("prerouting", Some(Hook { kind: "nat", number: PRE_ROUTING, priority: DSTNAT })),
        ("output", Some(Hook { kind: "nat", number: LOCAL_OUT, priority: DSTNAT })),
        ("postrouting", Some(Hook { kind: "nat", number: POST_ROUTING, priority: SRCNAT })),
        ("forward", Some(Hook { kind: "filter", number: FORWARD, priority: FILTER })),
    ] {
        batch.add_chain(Family::Inet, table, chain, hook);
    }
    destinations(batch, table);
    for network in &ruleset.networks {
        sources(batch, table, network);
    }
    forwards(batch, table, &ruleset.networks);
    let bridges: Vec<Element> =
        ruleset.networks.iter().map(|network| (interface(&network.bridge), None)).collect();
    if !bridges.is_empty() {
        batch.add_elements(Family::Inet, (table, "bridges"), &bridges);
    }
    add_ports(batch, table, &ruleset.ports);
}

fn sets(batch: &mut Batch, table: &str) {
    use DataType::{InetProtocol, InetService, InterfaceName, Ipv4, Ipv6};
    batch.add_set(Family::Inet, (table, "bridges"), &[InterfaceName], None);
    for (any, one, address) in [("ports4", "ports4at", Ipv4), ("ports6", "ports6at", Ipv6)] {
        let target = [address, InetService];
        batch.add_set(Family::Inet, (table, any), &[InetProtocol, InetService], Some(&target));
        batch.add_set(Family::Inet, (table, one), &[address, InetProtocol, InetService], Some(&target));
    }
}

/// Who is sent where: published ports.
fn destinations(batch: &mut Batch, table: &str) {
    let is_local = || {
        [
            Expression::DestinationType { register: 0 },
            Expression::Equal { register: 0, value: LOCAL.to_ne_bytes().into() },
        ]
    };
    let jump = || [Expression::Verdict(Verdict::Jump("published"))];
    let to_published: Vec<_> = is_local().into_iter().chain(jump()).collect();
    batch.add_rule(Family::Inet, table, "prerouting", &to_published);
    let (_, destination, length) = V4_ADDRESSES;
    let mut loopback = is_version(V4);
    loopback.extend([
        Expression::Payload { register: 0, base: Base::Network, offset: destination, length },
        Expression::Mask { register: 0, mask: vec![255, 0, 0, 0] },
        Expression::Equal { register: 0, value: vec![127, 0, 0, 0] },
        Expression::Verdict(Verdict::Return),
    ]);
    batch.add_rule(Family::Inet, table, "output", &loopback);
    let (_, destination, length) = V6_ADDRESSES;
    let mut loopback = is_version(V6);
    loopback.extend([
        Expression::Payload { register: 0, base: Base::Network, offset: destination, length },
        Expression::Equal { register: 0, value: std::net::Ipv6Addr::LOCALHOST.octets().into() },
        Expression::Verdict(Verdict::Return),
    ]);
    batch.add_rule(Family::Inet, table, "output", &loopback);
    batch.add_rule(Family::Inet, table, "output", &to_published);
    for (version, (any, one), (_, destination, length)) in
        [(V4, ("ports4", "ports4at"), V4_ADDRESSES), (V6, ("ports6", "ports6at"), V6_ADDRESSES)]
    {
        let words = length / 4;
        let mut rule = is_version(version);
        rule.push(Expression::Payload { register: 0, base: Base::Network, offset: destination, length });
        rule.extend(to_target(version, one, (0, words), words));
        batch.add_rule(Family::Inet, table, "published", &rule);
        let mut rule = is_version(version);
        rule.extend(to_target(version, any, (0, 0), words));
        batch.add_rule(Family::Inet, table, "published", &rule);
    }
}

/// Loads protocol and port behind what the key has already, and goes where the map says.
fn to_target<'a>(
    version: u8,
    map: &'a str,
    (key, next): (u32, u32),
    address_words: u32,
) -> [Expression<'a>; 4] {
    [
        Expression::TransportProtocol { register: next },
        Expression::Payload { register: next + 1, base: Base::Transport, offset: 2, length: 2 },
        Expression::Map { map, key, value: 0 },
        Expression::DestinationNat { family: version, address: 0, port: address_words },
    ]
}

/// What a network's packets look like from outside.
fn sources(batch: &mut Batch, table: &str, network: &NetworkRules) {
    if !network.masquerade || network.internal {
        return;
    }
    for subnet in &network.subnets {
        let (version, (_, destination, length)) = version(subnet);
        let mut out = from_subnet(subnet);
        out.extend([
            Expression::OutgoingInterface { register: 0 },
            Expression::Unequal { register: 0, value: interface(&network.bridge) },
            Expression::Payload { register: 0, base: Base::Network, offset: destination, length },
        ]);
        // Who listens to a group must see who speaks.
        let (mask, group) = if version == V4 { (240, 224) } else { (255, 255) };
        let mut first = vec![0; length as usize];
        first[0] = mask;
        out.push(Expression::Mask { register: 0, mask: first.clone() });
        first[0] = group;
        out.extend([Expression::Unequal { register: 0, value: first }, Expression::Masquerade]);
        batch.add_rule(Family::Inet, table, "postrouting", &out);
        let mut back = from_subnet(subnet);
        back.extend([
            Expression::OutgoingInterface { register: 0 },
            Expression::Equal { register: 0, value: interface(&network.bridge) },
        ]);
        back.extend(was_published());
        back.push(Expression::Masquerade);
        batch.add_rule(Family::Inet, table, "postrouting", &back);
    }
}

/// Who may speak to whom.
fn forwards(batch: &mut Batch, table: &str, networks: &[NetworkRules]) {
    let mut rule =
        |expressions: Vec<Expression<'_>>| batch.add_rule(Family::Inet, table, "forward", &expressions);
    rule(vec![
        Expression::ConnectionState { register: 0 },
        Expression::Mask { register: 0, mask: ESTABLISHED_OR_RELATED.to_ne_bytes().into() },
        Expression::Unequal { register: 0, value: vec![0; 4] },
        Expression::Verdict(Verdict::Accept),
    ]);
    for network in networks {
        let name = interface(&network.bridge);
        let [from, to] = [true, false].map(|is_incoming| at_interface(name.clone(), is_incoming));
        let verdict = if network.icc { Verdict::Accept } else { Verdict::Drop };
        rule(from.iter().chain(&to).cloned().chain([Expression::Verdict(verdict)]).collect());
        if network.internal {
            for side in [from, to] {
                rule(side.into_iter().chain([Expression::Verdict(Verdict::Drop)]).collect());
            }
        }
    }
    let to_us = || {
        vec![Expression::OutgoingInterface { register: 0 }, Expression::In { set: "bridges", register: 0 }]
    };
    let mut published = to_us();
    published.extend(was_published());
    published.push(Expression::Verdict(Verdict::Accept));
    rule(published);
    let mut others = to_us();
    others.push(Expression::Verdict(Verdict::Drop));
    rule(others);
}

/// Published ports as elements of their maps.
pub(super) fn add_ports(batch: &mut Batch, table: &str, ports: &[PortRule]) {
    for map in ["ports4", "ports4at", "ports6", "ports6at"] {
        let elements: Vec<Element> = ports
            .iter()
            .filter(|port| map_of(port) == map)
            .map(|port| (key_of(port), Some(target_of(port))))
            .collect();
        if !elements.is_empty() {
            batch.add_elements(Family::Inet, (table, map), &elements);
        }
    }
}

/// Takes one out, whatever it leads to.
pub(super) fn delete_port(batch: &mut Batch, table: &str, port: &PortRule) {
    batch.delete_elements(Family::Inet, (table, map_of(port)), &[(key_of(port), None)]);
}

/// A rule for chains of iptables: lets pass what comes from a bridge, or goes to it. In the shape that iptables knows.
pub(super) fn pass(bridge: &str, is_incoming: bool) -> Vec<Expression<'static>> {
    let mut rule = at_interface(interface(bridge), is_incoming);
    rule.extend([Expression::Counter, Expression::Verdict(Verdict::Accept)]);
    rule
}

/// Sends questions to the resolver's own ports: (protocol, port) each.
pub(super) fn dns(batch: &mut Batch, table: &str, resolver: [u8; 4], ports: [(u8, u16); 2]) {
    const DNS: u16 = 53;
    batch.add_table(Family::Ip, table);
    batch.add_chain(
        Family::Ip,
        table,
        "output",
        Some(Hook { kind: "nat", number: LOCAL_OUT, priority: DSTNAT }),
    );
    for (protocol, port) in ports {
        let (_, destination, length) = V4_ADDRESSES;
        batch.add_rule(
            Family::Ip,
            table,
            "output",
            &[
                Expression::Payload { register: 0, base: Base::Network, offset: destination, length },
                Expression::Equal { register: 0, value: resolver.into() },
                Expression::TransportProtocol { register: 0 },
                Expression::Equal { register: 0, value: vec![protocol] },
                Expression::Payload { register: 0, base: Base::Transport, offset: 2, length: 2 },
                Expression::Equal { register: 0, value: DNS.to_be_bytes().into() },
                Expression::Immediate { register: 0, value: resolver.into() },
                Expression::Immediate { register: 1, value: port.to_be_bytes().into() },
                Expression::DestinationNat { family: V4, address: 0, port: 1 },
            ],
        );
    }
}

fn at_interface(name: Vec<u8>, is_incoming: bool) -> Vec<Expression<'static>> {
    let load = match is_incoming {
        true => Expression::IncomingInterface { register: 0 },
        false => Expression::OutgoingInterface { register: 0 },
    };
    vec![load, Expression::Equal { register: 0, value: name }]
}

fn is_version(version: u8) -> Vec<Expression<'static>> {
    vec![Expression::NetworkProtocol { register: 0 }, Expression::Equal { register: 0, value: vec![version] }]
}

fn was_published() -> [Expression<'static>; 3] {
    [
        Expression::ConnectionStatus { register: 0 },
        Expression::Mask { register: 0, mask: DESTINATION_CHANGED.to_ne_bytes().into() },
        Expression::Unequal { register: 0, value: vec![0; 4] },
    ]
}

fn from_subnet(subnet: &IpNet) -> Vec<Expression<'static>> {
    let (version, (source, _, length)) = version(subnet);
    let mut rule = is_version(version);
    rule.extend([
        Expression::Payload { register: 0, base: Base::Network, offset: source, length },
        Expression::Mask { register: 0, mask: octets(subnet.netmask()) },
        Expression::Equal { register: 0, value: octets(subnet.network()) },
    ]);
    rule
}

fn version(subnet: &IpNet) -> (u8, (u32, u32, u32)) {
    match subnet {
        IpNet::V4(_) => (V4, V4_ADDRESSES),
        IpNet::V6(_) => (V6, V6_ADDRESSES),
    }
}

fn map_of(port: &PortRule) -> &'static str {
    match (port.target.is_ipv4(), port.host.is_some()) {
        (true, false) => "ports4",
        (true, true) => "ports4at",
        (false, false) => "ports6",
        (false, true) => "ports6at",
    }
}

fn key_of(port: &PortRule) -> Vec<u8> {
    let mut key = port.host.map(octets).unwrap_or_default();
    key.extend([protocol_number(port.protocol), 0, 0, 0]);
    key.extend(port_word(port.host_port));
    key
}

fn target_of(port: &PortRule) -> Vec<u8> {
    let mut target = octets(port.target.ip());
    target.extend(port_word(port.target.port()));
    target
}

/// `IPPROTO_…`
pub(super) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

/// A port fills the first half of its register.
fn port_word(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// The kernel compares all sixteen bytes.
fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(INTERFACE_NAME_SIZE, 0);
    bytes
}
