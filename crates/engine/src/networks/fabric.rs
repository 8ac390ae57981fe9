//! The kernel's side of networks: bridges, interfaces, addresses, rules, names, and which container has which.
//!
//! ```text
//! connect:    addresses ─▶ ports ─▶ namespace ─▶ bridge, veth ─▶ rules ─▶ names      every one a value that undoes itself
//! disconnect: names and ports, addresses at once; rules when there is time; the namespace goes with its processes
//! ```
//!
//! A container's network namespace is held by descriptors only: when the last process in it and we are gone, the kernel
//! removes it with its interfaces. What remains after a crash are addresses (files), rules and what `corten-net` holds; each names
//! the container, and recovery removes those of containers that do not run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use network::conflist;
use network::firewall::{Firewall, PortRule};
use network::ipam::{Ipam, Owner, Place};
use network::link::Links;
use network::namespace::Namespace;
use tokio::sync::watch;

use super::book::Book;
use super::names::{self, Resolution, ResolvConf};
use super::ports::{self, HeldPort, PortHolder};
use super::{Endpoint, NetworkState, PublishedPort};
use crate::containers::spec::{EndpointSpec, NetworkSpec, Port, PortSpec, Protocol};
use crate::error::{Error, Result, chain};

/// The default network.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";
/// How the owners of our addresses begin, beside other programs in the same files.
pub(crate) const OWNER_PREFIX: &str = "corten-";
/// Lengths of the prefixes of link-local addresses: RFC 3927, RFC 4291.
const LINK_LOCAL_V4: u8 = 16;
const LINK_LOCAL_V6: u8 = 64;
/// Digits of an id that is shown, and that a container is found by.
const SHORT_ID: usize = 12;

/// Where things are, and what they are called.
#[derive(Debug, Clone)]
pub struct FabricConfig {
    /// Directory of network configurations.
    pub configurations: PathBuf,
    /// Directory of host-local's addresses.
    pub addresses: PathBuf,
    /// Interface of the default network.
    pub bridge: String,
    /// The table of our rules.
    pub table: String,
    /// How `corten-net` is started: program and arguments.
    pub resident: (PathBuf, Vec<String>),
    /// Its directory.
    pub resident_directory: PathBuf,
}

impl FabricConfig {
    /// Everything in the installation's own directories, with one name for the default bridge and the table; `program` has the applet `net`.
    pub fn below(root: &Path, state: &Path, name: &str, program: PathBuf) -> FabricConfig {
        FabricConfig {
            configurations: root.join("cni/net.d"),
            addresses: root.join("cni/networks"),
            bridge: name.to_owned(),
            table: name.to_owned(),
            resident: (program, vec!["net".into()]),
            resident_directory: state.join("net"),
        }
    }
}

/// What a container to be connected brings.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) networking: NetworkSpec,
    /// Parameters of its namespace.
    pub(crate) sysctls: Vec<(String, String)>,
}

impl Guest {
    /// What it asked of its place in a network.
    pub(super) fn endpoint(&self, network: &str) -> Option<&EndpointSpec> {
        self.endpoints.iter().find(|endpoint| endpoint.network == network)
    }
}

/// The kernel's side of networks.
#[derive(Debug)]
pub(crate) struct Fabric {
    config: FabricConfig,
    pub(crate) book: Book,
    ipam: Ipam,
    links: OnceLock<Links>,
    firewall: OnceLock<Firewall>,
    pub(super) resident: Mutex<Option<Arc<resident::Client>>>,
    /// Who waits for the end of `corten-net` hears here that there is one.
    pub(super) resident_came: watch::Sender<Option<Arc<resident::Client>>>,
    /// Held while a network is made ready or taken down.
    turn: Mutex<()>,
    /// Held from a look at what is published until the kernel has the rules for it.
    rules: Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Networks whose bridge and rules are there, by name.
    active: BTreeMap<String, conflist::Network>,
    containers: HashMap<String, Connected>,
    /// Which container has a port now; another one may still have rules for it.
    ports: HashMap<PortKey, String>,
    addresses: BTreeSet<IpAddr>,
}

type PortKey = (Protocol, IpAddr, u16);

/// A container that is connected.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) state: Arc<NetworkState>,
    pub(crate) guest: Guest,
    /// Whom we ask for it, if it asks us.
    pub(crate) upstreams: Option<Vec<SocketAddr>>,
}

/// What [`Fabric::connect`] made; dropped without [`Connection::keep`], it goes.
#[derive(Debug)]
pub(crate) struct Connection {
    fabric: Arc<Fabric>,
    id: String,
    pub(crate) namespace: Namespace,
    pub(crate) state: Arc<NetworkState>,
    pub(crate) resolution: Resolution,
    is_kept: bool,
}

impl Fabric {
    pub(crate) fn new(config: FabricConfig) -> Fabric {
        Fabric {
            book: Book::new(config.configurations.clone()),
            ipam: Ipam::new(config.addresses.clone()),
            config,
            links: OnceLock::new(),
            firewall: OnceLock::new(),
            resident: Mutex::default(),
            resident_came: watch::Sender::new(None),
            turn: Mutex::default(),
            rules: Mutex::default(),
            inner: Mutex::default(),
        }
    }

    /// Connects a container to its networks, in a network namespace of its own.
    pub(crate) fn connect(self: &Arc<Self>, guest: Guest) -> Result<Connection> {
        let networks = self.networks_of(&guest)?;
        for network in &networks {
            self.make_ready(network)?;
        }
        let has_names = networks.iter().any(|network| network.name != DEFAULT_NETWORK);
        let resolution = names::resolution(&host_resolv_conf(), &guest.networking, has_names);
        let mut undo = Undo { fabric: self.clone(), id: guest.id.clone(), endpoints: Vec::new() };
        for (number, (spec, network)) in guest.endpoints.iter().zip(&networks).enumerate() {
            undo.endpoints.push(self.take_addresses(&guest, spec, network, number)?);
        }
        let held = hold_ports(&guest.networking).map_err(|error| self.name_holder(error))?;
        let state = Arc::new(NetworkState {
            endpoints: undo.endpoints.clone(),
            ports: held.iter().map(|port| port.published.clone()).collect(),
        });
        let sysctls = guest.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let namespace = Namespace::new(sysctls)?;
        for (endpoint, (spec, network)) in state.endpoints.iter().zip(guest.endpoints.iter().zip(&networks)) {
            self.attach(&namespace, endpoint, spec, network)?;
        }
        let connected = Connected { state: state.clone(), guest, upstreams: resolution.upstreams.clone() };
        self.remember(&connected);
        self.publish(&connected)?;
        self.tell_resident(&connected, &namespace, &held)?;
        undo.endpoints.clear();
        let id = connected.guest.id;
        Ok(Connection { fabric: self.clone(), id, namespace, state, resolution, is_kept: false })
    }

    /// A taken port that a container has is the container's, not `corten-net`'s, which holds it for that.
    fn name_holder(&self, error: Error) -> Error {
        let Error::PortTaken { protocol, address, holder } = error else { return error };
        let inner = self.inner();
        let overlaps = |port: &PublishedPort| {
            let (one, other) = (port.host_ip, address.ip());
            port.container.protocol == protocol
                && port.host_port == address.port()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        };
        let has_it = |connected: &&Connected| connected.state.ports.iter().any(overlaps);
        let container = inner.containers.values().find(has_it);
        let container = container.map(|connected| PortHolder::Container(connected.guest.name.clone()));
        Error::PortTaken { protocol, address, holder: container.or(holder) }
    }

    /// The part of a disconnection that others may wait for: names, ports and addresses are free when this returns.
    pub(crate) fn release(&self, id: &str) {
        let Some(connected) = self.inner().containers.get(id).cloned() else { return };
        if connected.needs_resident()
            && let Some(resident) = self.connected_resident()
            && let Err(error) = resident.remove(id)
        {
            tracing::warn!(
                container = id,
                error = chain(&error),
                "corten-net does not let go of a container"
            );
        }
        for endpoint in &connected.state.endpoints {
            self.give_back(id, endpoint);
        }
    }

    /// Ends a container's connection: what [`Fabric::release`] has left.
    pub(crate) fn disconnect(&self, id: &str) {
        self.release(id);
        let _rules = self.rules();
        let Some(connected) = self.forget(id) else { return };
        let rules = self.own_rules(id, &connected);
        if let Some(firewall) = self.firewall.get()
            && !rules.is_empty()
            && let Err(error) = firewall.unpublish(&rules)
        {
            tracing::warn!(
                container = id,
                error = chain(&error),
                "rules of published ports could not be removed"
            );
        }
    }

    fn networks_of(&self, guest: &Guest) -> Result<Vec<conflist::Network>> {
        guest
            .endpoints
            .iter()
            .map(|endpoint| match endpoint.network.as_str() {
                DEFAULT_NETWORK => self.default_network(),
                name => self.book.get(name)?.ok_or_else(|| Error::NoSuchNetwork(name.to_owned())),
            })
            .collect()
    }

    pub(super) fn take_addresses(
        &self,
        guest: &Guest,
        spec: &EndpointSpec,
        network: &conflist::Network,
        number: usize,
    ) -> Result<Endpoint> {
        let bridge = bridge_of(network)?;
        let id = crate::random::hex::<32>();
        let interface = format!("eth{number}");
        let owner_id = format!("{OWNER_PREFIX}{}", guest.id);
        let owner = Owner { id: &owner_id, interface: &interface };
        let mut endpoint = Endpoint {
            host_interface: format!("veth{}", &id[..8]),
            network_id: network.id.clone(),
            network: network.name.clone(),
            mac: String::new(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            names: names_of(guest, spec),
            interface: interface.clone(),
            id,
        };
        let ipam = self.ipam_of(network);
        for (index, subnet) in bridge.subnets.iter().enumerate() {
            let wanted = match subnet.subnet {
                IpNet::V4(_) => spec.ipv4.map(IpAddr::V4),
                IpNet::V6(_) => spec.ipv6.map(IpAddr::V6),
            };
            let is_in_use = |address| self.inner().addresses.contains(&address);
            let taken = ipam.take(Place { network: &network.name, index, subnet }, owner, wanted, &is_in_use);
            let address = taken.inspect_err(|_| self.give_back(&guest.id, &endpoint))?;
            self.inner().addresses.insert(address);
            let prefix = IpNet::new(address, subnet.subnet.prefix_len()).expect("the subnet's own length");
            endpoint.addresses.push(prefix);
            if !bridge.internal {
                endpoint.gateways.push(subnet.gateway);
            }
        }
        endpoint.mac = mac_text(spec.mac.unwrap_or_else(|| mac_of(&endpoint)));
        Ok(endpoint)
    }

    pub(super) fn give_back(&self, id: &str, endpoint: &Endpoint) {
        let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(IpNet::addr).collect();
        let owner = format!("{OWNER_PREFIX}{id}");
        let ipam = match self.inner().active.get(&endpoint.network) {
            Some(network) => self.ipam_of(network),
            None => self.ipam.clone(),
        };
        if let Err(error) = ipam.give_back(&endpoint.network, &addresses, &owner) {
            tracing::warn!(container = id, error = chain(&error), "addresses could not be given back");
        }
        let mut inner = self.inner();
        inner.addresses.retain(|address| !addresses.contains(address));
    }

    pub(super) fn attach(
        &self,
        namespace: &Namespace,
        endpoint: &Endpoint,
        spec: &EndpointSpec,
        network: &conflist::Network,
    ) -> Result<()> {
        let bridge = bridge_of(network)?;
        let further = spec.link_local.iter().map(|address| {
            let length = if address.is_ipv4() { LINK_LOCAL_V4 } else { LINK_LOCAL_V6 };
            IpNet::new(*address, length).expect("shorter than an address")
        });
        let link = network::link::Endpoint {
            bridge: bridge.interface.clone(),
            host_interface: endpoint.host_interface.clone(),
            interface: endpoint.interface.clone(),
            mac: mac_bytes(&endpoint.mac).unwrap_or_else(|| mac_of(endpoint)),
            addresses: endpoint.addresses.iter().copied().chain(further).collect(),
            // The first network has the way out.
            gateways: if endpoint.interface == "eth0" { endpoint.gateways.clone() } else { Vec::new() },
            mtu: bridge.mtu,
        };
        Ok(self.links()?.attach(namespace, &link)?)
    }

    pub(super) fn ipam_of(&self, network: &conflist::Network) -> Ipam {
        match network.bridge().and_then(|bridge| bridge.data_directory.as_ref()) {
            Some(directory) => Ipam::new(directory.into()),
            None => self.ipam.clone(),
        }
    }

    pub(super) fn remember(&self, connected: &Connected) {
        let mut inner = self.inner();
        let id = &connected.guest.id;
        for port in &connected.state.ports {
            inner.ports.insert(key(port), id.clone());
        }
        let endpoints = connected.state.endpoints.iter();
        inner.addresses.extend(endpoints.flat_map(|endpoint| &endpoint.addresses).map(IpNet::addr));
        inner.containers.insert(id.clone(), connected.clone());
    }

    pub(super) fn forget(&self, id: &str) -> Option<Connected> {
        self.inner().containers.remove(id)
    }

    /// The rules of ports that the container still has; another one may have taken some over.
    fn own_rules(&self, id: &str, connected: &Connected) -> Vec<PortRule> {
        let mut inner = self.inner();
        let own: Vec<&PublishedPort> = connected
            .state
            .ports
            .iter()
            .filter(|port| inner.ports.get(&key(port)).is_some_and(|owner| owner == id))
            .collect();
        let rules = own.iter().filter_map(|port| rule(connected, port)).collect();
        own.iter().for_each(|port| drop(inner.ports.remove(&key(port))));
        rules
    }

    fn publish(&self, connected: &Connected) -> Result<()> {
        let rules: Vec<PortRule> =
            connected.state.ports.iter().filter_map(|port| rule(connected, port)).collect();
        if rules.is_empty() {
            return Ok(());
        }
        let _rules = self.rules();
        Ok(self.firewall()?.publish(&rules)?)
    }

    pub(crate) fn links(&self) -> Result<&Links> {
        match self.links.get() {
            Some(links) => Ok(links),
            None => {
                let links = Links::open()?;
                Ok(self.links.get_or_init(|| links))
            }
        }
    }

    pub(super) fn firewall(&self) -> Result<&Firewall> {
        match self.firewall.get() {
            Some(firewall) => Ok(firewall),
            None => {
                let firewall = Firewall::open(&self.config.table)?;
                Ok(self.firewall.get_or_init(|| firewall))
            }
        }
    }

    pub(super) fn config(&self) -> &FabricConfig {
        &self.config
    }

    pub(super) fn resident_command(&self) -> (&Path, &(PathBuf, Vec<String>)) {
        (&self.config.resident_directory, &self.config.resident)
    }

    /// Held while a network is made ready or taken down.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, ()> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a network's bridge and rules are there.
    pub(super) fn is_active(&self, network: &conflist::Network) -> bool {
        self.inner().active.get(&network.name).is_some_and(|active| active.id == network.id)
    }

    pub(super) fn set_active(&self, network: &conflist::Network) {
        self.inner().active.insert(network.name.clone(), network.clone());
    }

    /// Whether it was.
    pub(super) fn set_inactive(&self, name: &str) -> bool {
        self.inner().active.remove(name).is_some()
    }

    pub(super) fn active(&self) -> Vec<conflist::Network> {
        self.inner().active.values().cloned().collect()
    }

    /// Whether a running container is in a network.
    pub(super) fn is_used(&self, network: &str) -> bool {
        let inner = self.inner();
        inner
            .containers
            .values()
            .any(|one| one.state.endpoints.iter().any(|endpoint| endpoint.network == network))
    }

    pub(super) fn has_containers(&self) -> bool {
        !self.inner().containers.is_empty()
    }

    pub(super) fn connected(&self, id: &str) -> Option<Connected> {
        self.inner().containers.get(id).cloned()
    }

    pub(super) fn all_connected(&self) -> Vec<Connected> {
        self.inner().containers.values().cloned().collect()
    }

    pub(super) fn port_rules(&self) -> Vec<PortRule> {
        let all = self.all_connected();
        all.iter().flat_map(|one| one.state.ports.iter().filter_map(move |port| rule(one, port))).collect()
    }

    pub(super) fn opened_firewall(&self) -> Option<&Firewall> {
        self.firewall.get()
    }

    pub(super) fn ipam(&self) -> &Ipam {
        &self.ipam
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection that fails half way must undo.
struct Undo {
    fabric: Arc<Fabric>,
    id: String,
    /// Empty: nothing is to be undone any more.
    endpoints: Vec<Endpoint>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.endpoints.is_empty() {
            return;
        }
        self.fabric.disconnect(&self.id);
        self.endpoints.iter().for_each(|endpoint| self.fabric.give_back(&self.id, endpoint));
    }
}

impl Connection {
    /// The container runs with it.
    pub(crate) fn keep(mut self) -> Arc<NetworkState> {
        self.is_kept = true;
        self.state.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_kept {
            self.fabric.disconnect(&self.id);
        }
    }
}

impl Connected {
    /// It has ports that are held for it, or asks us for names, or is found by name.
    pub(crate) fn needs_resident(&self) -> bool {
        !self.state.ports.is_empty()
            || self.upstreams.is_some()
            || self.state.endpoints.iter().any(|endpoint| endpoint.network != DEFAULT_NETWORK)
    }

    /// The container's address that a port of the host leads to: of the same family, if there is one.
    pub(crate) fn target(&self, port: &PublishedPort) -> Option<SocketAddr> {
        let addresses =
            || self.state.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).map(IpNet::addr);
        let same = addresses().find(|address| address.is_ipv4() == port.host_ip.is_ipv4());
        same.or_else(|| addresses().next()).map(|address| SocketAddr::new(address, port.container.number))
    }
}

fn key(port: &PublishedPort) -> PortKey {
    (port.container.protocol, port.host_ip, port.host_port)
}

/// The kernel's rule for a port; none where only `corten-net` can pass on what arrives: from another address family, and from
/// the host to itself.
fn rule(connected: &Connected, port: &PublishedPort) -> Option<PortRule> {
    let target = connected.target(port)?;
    let is_direct = target.is_ipv4() == port.host_ip.is_ipv4() && !port.host_ip.is_loopback();
    is_direct.then(|| PortRule {
        host: Some(port.host_ip).filter(|address| !address.is_unspecified()),
        host_port: port.host_port,
        protocol: match port.container.protocol {
            Protocol::Tcp => network::firewall::Protocol::Tcp,
            Protocol::Udp => network::firewall::Protocol::Udp,
        },
        target,
    })
}

/// What the host asks for names.
pub(super) fn host_resolv_conf() -> ResolvConf {
    const HOST: &str = "/etc/resolv.conf";
    /// systemd-resolved's own list of servers, behind its stub.
    const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
    let read = |path| ResolvConf::parse(&std::fs::read_to_string(path).unwrap_or_default());
    let conf = read(HOST);
    let is_stub = conf.servers == ["127.0.0.53".parse::<IpAddr>().expect("an address")];
    match is_stub.then(|| read(RESOLVED)) {
        Some(real) if !real.servers.is_empty() => real,
        _ => conf,
    }
}

/// Sockets for every port that is to be published.
fn hold_ports(networking: &NetworkSpec) -> Result<Vec<HeldPort>> {
    let is_asked = |port: &Port| networking.ports.iter().any(|asked| asked.container == *port);
    let exposed = networking.exposed.iter().filter(|port| networking.publish_all && !is_asked(port));
    let others = exposed.map(|port| PortSpec { container: *port, host_ip: None, host_ports: None });
    let mut held = Vec::new();
    for spec in networking.ports.iter().cloned().chain(others) {
        held.extend(ports::hold(&spec)?);
    }
    Ok(held)
}

/// What containers of a network find it by.
fn names_of(guest: &Guest, spec: &EndpointSpec) -> Vec<String> {
    let mut names = vec![guest.name.clone(), guest.id[..SHORT_ID].to_owned()];
    for alias in &spec.aliases {
        if !names.contains(alias) {
            names.push(alias.clone());
        }
    }
    names
}

pub(crate) fn bridge_of(network: &conflist::Network) -> Result<&conflist::Bridge> {
    match &network.driver {
        conflist::Driver::Bridge(bridge) => Ok(bridge),
        conflist::Driver::Other(plugin) => Err(Error::Unsupported(format!(
            "network {} is set up by the plugin `{plugin}`; only `bridge` with `host-local` is there yet",
            network.name
        ))),
    }
}

/// From the first IPv4 address, so that it is the same whenever the address is; else from the endpoint's random id.
fn mac_of(endpoint: &Endpoint) -> [u8; 6] {
    let v4 = endpoint.addresses.iter().find_map(|prefix| match prefix.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let address = v4.unwrap_or_else(|| {
        let digits = u32::from_str_radix(endpoint.id.get(..8).unwrap_or_default(), 16);
        digits.unwrap_or_default().into()
    });
    network::link::mac_of(address)
}

/// What [`mac_text`] wrote.
fn mac_bytes(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
