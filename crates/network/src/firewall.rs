//! Forwarding, masquerading and published ports, over nf_tables.
//!
//! One table holds everything, in nft(8)'s words:
//!
//! ```text
//! table inet corten {
//!   set bridges  { type ifname }                                                   our bridges
//!   map ports4   { type inet_proto . inet_service : ipv4_addr . inet_service }              at any address of the host
//!   map ports4at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }   at one of them
//!   map ports6, ports6at                                                           the same for IPv6
//!   chain prerouting  { type nat hook prerouting priority dstnat;  fib daddr type local jump published }
//!   chain output      { type nat hook output priority dstnat;      the same, but for 127.0.0.0/8 and ::1 }
//!   chain published   { dnat ip to ip daddr . meta l4proto . th dport map @ports4at
//!                       dnat ip to meta l4proto . th dport map @ports4                             … and IPv6 }
//!   chain postrouting { type nat hook postrouting priority srcnat;  for each network:
//!                       ip saddr SUBNET oifname != BRIDGE ip daddr != 224.0.0.0/4 masquerade       out into the world
//!                       ip saddr SUBNET oifname BRIDGE ct status dnat masquerade }                 back to a neighbour, or itself
//!   chain forward     { type filter hook forward priority filter;
//!                       ct state established,related accept
//!                       iifname BRIDGE oifname BRIDGE accept (or drop)                             for each network
//!                       iifname BRIDGE drop; oifname BRIDGE drop                                   for each internal one
//!                       oifname @bridges ct status dnat accept                                     a published port
//!                       oifname @bridges drop }              nothing else gets in, from networks of ours or from elsewhere
//! }
//! ```
//!
//! What a host's own programs send to 127.0.0.1 is not translated, because a container cannot answer to that address: `corten-net` holds a
//! socket at each published port and passes it on. So no bridge has to take packets for loopback addresses.
//!
//! An `accept` in here does not overrule a `drop` elsewhere. Docker and ufw drop in the chain `FORWARD` of iptables; where that chain exists,
//! two rules for each of our bridges stand at its head (or in `DOCKER-USER`, which Docker keeps for this), to let pass what our own
//! chain has decided about. They carry a comment and go with their network.

mod connections;
mod rules;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use linux::netlink::{self, Protocol as Netlink, Socket, messages_in};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::nft::{self, Batch, Family};

/// `NFNLGRP_NFTABLES`
const EVENT_GROUP: u32 = 7;
/// A batch that meets somebody else's change is tried again, so often.
const ATTEMPTS: u32 = 5;
/// Where containers find names that `corten-net` answers.
const RESOLVER: [u8; 4] = [127, 0, 0, 11];

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A network, as far as packets are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    pub bridge: String,
    pub subnets: Vec<IpNet>,
    /// What leaves it has the host's address.
    pub masquerade: bool,
    /// Nothing gets in or out.
    pub internal: bool,
    /// Its containers reach each other.
    pub icc: bool,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRule {
    /// None: every address of the target's family.
    pub host: Option<IpAddr>,
    pub host_port: u16,
    pub protocol: Protocol,
    pub target: SocketAddr,
}

/// Everything that the table is to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub networks: Vec<NetworkRules>,
    pub ports: Vec<PortRule>,
}

/// The table.
#[derive(Debug)]
pub struct Firewall {
    table: String,
    socket: Socket,
    /// Held while it is written.
    turn: Mutex<()>,
}

/// Changes that others make.
#[derive(Debug)]
pub struct Watch {
    table: String,
    socket: Socket,
    /// Whose changes are our own.
    own_port: u32,
    buffer: Vec<u8>,
}

impl Firewall {
    /// The table of that name in the calling thread's network namespace; nothing is changed yet.
    pub fn open(table: &str) -> Result<Firewall> {
        let socket =
            nft::open().map_err(|source| Error::Kernel { what: "open a netfilter socket".into(), source })?;
        Ok(Firewall { table: table.to_owned(), socket, turn: Mutex::default() })
    }

    /// Makes the table say this and nothing else, at once.
    pub fn replace(&self, ruleset: &Ruleset) -> Result<()> {
        let _turn = self.turn();
        self.commit("write the rules of networks", || {
            let mut batch = self.without_table();
            rules::table(&mut batch, &self.table, ruleset);
            batch
        })?;
        let bridges: Vec<&str> = ruleset.networks.iter().map(|network| network.bridge.as_str()).collect();
        self.join(&bridges)
    }

    /// Publishes ports; one that another container had until now is this one's from then on.
    pub fn publish(&self, ports: &[PortRule]) -> Result<()> {
        let _turn = self.turn();
        let add = || {
            let mut batch = Batch::new();
            rules::add_ports(&mut batch, &self.table, ports);
            batch
        };
        match add().commit(&self.socket) {
            Ok(()) => {}
            // Another container's, which is gone but for its rules.
            Err(error) if matches!(error.errno, Errno::EXIST | Errno::BUSY) => {
                self.remove_ports(ports)?;
                self.commit("publish ports", add)?;
            }
            Err(error) if is_meeting(&error) => self.commit("publish ports", add)?,
            Err(error) => return Err(Error::refused("publish ports".into(), error)),
        }
        connections::forget(ports)
    }

    /// Takes published ports back; those that are not there are no error.
    pub fn unpublish(&self, ports: &[PortRule]) -> Result<()> {
        let _turn = self.turn();
        self.remove_ports(ports)?;
        connections::forget(ports)
    }

    /// Removes the table and what was put into the chains of others.
    pub fn clear(&self) -> Result<()> {
        let _turn = self.turn();
        self.join(&[])?;
        self.commit("remove the rules of networks", || self.without_table())
    }

    /// Tells of changes that others make to the table, or to the chains that are joined.
    pub fn watch(&self) -> Result<Watch> {
        let socket = Socket::listen(Netlink::Netfilter, &[EVENT_GROUP])
            .map_err(|source| Error::Kernel { what: "listen for changes of rules".into(), source })?;
        Ok(Watch { table: self.table.clone(), socket, own_port: self.socket.port(), buffer: Vec::new() })
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table can only be deleted if it is there, and adding one that is there changes nothing.
    fn without_table(&self) -> Batch {
        let mut batch = Batch::new();
        batch.add_table(Family::Inet, &self.table);
        batch.delete_table(Family::Inet, &self.table);
        batch
    }

    fn remove_ports(&self, ports: &[PortRule]) -> Result<()> {
        let remove = |ports: &[PortRule]| {
            let mut batch = Batch::new();
            ports.iter().for_each(|port| rules::delete_port(&mut batch, &self.table, port));
            batch.commit(&self.socket)
        };
        let failed = |error| Error::refused("take published ports back".into(), error);
        match remove(ports) {
            // An absent one fails its batch: one by one, then.
            Err(error) if error.errno == Errno::NOENT => {
                ports.iter().try_for_each(|port| match remove(std::slice::from_ref(port)) {
                    Err(error) if error.errno == Errno::NOENT => Ok(()),
                    removed => removed.map_err(failed),
                })
            }
            removed => removed.map_err(failed),
        }
    }

    fn commit(&self, what: &str, batch: impl Fn() -> Batch) -> Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match batch().commit(&self.socket) {
                Ok(()) => return Ok(()),
                Err(error) if is_meeting(&error) && attempt < ATTEMPTS => {}
                Err(error) => return Err(Error::refused(what.to_owned(), error)),
            }
        }
    }

    /// Makes the chains of others let our bridges pass, and no others of ours any more.
    fn join(&self, bridges: &[&str]) -> Result<()> {
        for family in [Family::Ip, Family::Ip6] {
            let mut wanted = bridges;
            for chain in ["DOCKER-USER", "FORWARD"] {
                let joined = self.join_chain(family, chain, wanted);
                // Docker's own chain is enough, as it comes first in the other; which then keeps none of ours.
                if joined.map_err(|error| Error::refused(format!("join the chain {chain}"), error))? {
                    wanted = &[];
                }
            }
        }
        Ok(())
    }

    /// Ok(false): there is no such chain. What is right already is left as it is, because others watch that chain, too.
    fn join_chain(&self, family: Family, chain: &str, bridges: &[&str]) -> netlink::Result<bool> {
        const TABLE: &str = "filter";
        if !nft::has_chain(&self.socket, family, TABLE, chain)? {
            return Ok(false);
        }
        let own = format!("{}: ", self.table);
        let there: Vec<_> = nft::rules(&self.socket, family, TABLE, chain)?
            .into_iter()
            .filter(|rule| rule.comment.starts_with(&own))
            .collect();
        let wanted: Vec<(String, &str, bool)> = bridges
            .iter()
            .flat_map(|bridge| {
                [
                    (format!("{own}from {bridge}"), *bridge, true),
                    (format!("{own}to {bridge}"), *bridge, false),
                ]
            })
            .collect();
        let mut batch = Batch::new();
        for rule in there.iter().filter(|rule| !wanted.iter().any(|(comment, ..)| *comment == rule.comment)) {
            batch.delete_rule(family, (TABLE, chain), rule.handle);
        }
        for (comment, bridge, is_incoming) in &wanted {
            if !there.iter().any(|rule| rule.comment == *comment) {
                batch.insert_rule(family, (TABLE, chain), &rules::pass(bridge, *is_incoming), comment);
            }
        }
        if !batch.is_empty() {
            batch.commit(&self.socket)?;
        }
        Ok(true)
    }
}

impl Watch {
    /// Reads what has happened; whether the rules should be written again.
    pub fn drain(&mut self) -> Result<bool> {
        let mut is_touched = false;
        loop {
            match self.socket.receive_events(&mut self.buffer) {
                Ok(length) => {
                    is_touched |= messages_in(&self.buffer[..length])
                        .filter(|message| message.port != self.own_port)
                        .filter_map(|message| nft::changed_table(message.kind, message.payload))
                        .any(|(_, table)| table == self.table || table == "filter");
                }
                Err(Errno::AGAIN) => return Ok(is_touched),
                // Some were lost; they may have been about us.
                Err(Errno::NOBUFS) => is_touched = true,
                Err(source) => {
                    return Err(Error::Kernel { what: "hear of changes of rules".into(), source });
                }
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// In a container's namespace: what is sent to the resolver's address and port 53 goes to these ports there.
pub fn redirect_dns(namespace: &Namespace, udp_port: u16, tcp_port: u16) -> Result<()> {
    const TABLE: &str = "corten-dns";
    let mut batch = Batch::new();
    // A new resolver's ports take the place of the last one's.
    batch.add_table(Family::Ip, TABLE);
    batch.delete_table(Family::Ip, TABLE);
    rules::dns(&mut batch, TABLE, RESOLVER, [(17, udp_port), (6, tcp_port)]);
    let socket = namespace.run(nft::open)?;
    batch
        .commit(&socket)
        .map_err(|error| Error::refused("redirect a container's questions for names".into(), error))
}

/// Whether somebody uses the old xtables of the kernel, whose chains this module cannot join.
pub fn legacy_filter_is_active() -> bool {
    let tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

/// Somebody else changed rules at the same moment.
fn is_meeting(error: &netlink::Error) -> bool {
    matches!(error.errno, Errno::AGAIN | Errno::INTR | Errno::BUSY)
}
