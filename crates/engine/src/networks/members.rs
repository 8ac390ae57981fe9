//! Containers in networks: what is asked is completed, connected, stored beside the bundle, and changed while they run.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use network::conflist;
use network::namespace::Namespace;
use serde::{Deserialize, Serialize};

use super::create::is_of_people;
use super::fabric::{Connected, Connection, DEFAULT_NETWORK, Fabric, Guest, host_resolv_conf};
use super::names::{self, Resolution};
use super::{Endpoint, NetworkState};
use crate::blocking::blocking;
use crate::containers::plan::network_sysctls;
use crate::containers::record::Record;
use crate::containers::spec::{ContainerSpec, EndpointSpec, NetworkMode, NetworkSpec};
use crate::containers::start::EtcTexts;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// More networks than this have no names for their interfaces; nobody has so many.
const ENDPOINTS_MAX: usize = 64;

/// A connection, as it is noted in the bundle for the next engine.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    state: NetworkState,
    upstreams: Option<Vec<std::net::SocketAddr>>,
}

impl Engine {
    /// Replaces what a client calls its networks by their names, and refuses what cannot be; returns what is odd.
    pub(crate) fn resolve_networks(&self, spec: &mut ContainerSpec) -> Result<Vec<String>> {
        if spec.network != NetworkMode::Networks {
            // Nothing of it applies.
            spec.networking = NetworkSpec::default();
            return Ok(Vec::new());
        }
        if spec.networking.endpoints.is_empty() {
            spec.networking.endpoints =
                vec![EndpointSpec { network: DEFAULT_NETWORK.into(), ..EndpointSpec::default() }];
        }
        for endpoint in &mut spec.networking.endpoints {
            let network = match endpoint.network.as_str() {
                "default" | DEFAULT_NETWORK => DEFAULT_NETWORK.to_owned(),
                name => self.fabric.book.find(name)?.name,
            };
            endpoint.network = network;
            check(endpoint)?;
        }
        let names = spec.networking.endpoints.iter().map(|endpoint| &endpoint.network);
        let distinct: std::collections::BTreeSet<&String> = names.collect();
        if distinct.len() < spec.networking.endpoints.len() {
            return Err(Error::InvalidArgument("a network is named twice".into()));
        }
        let mut warnings = Vec::new();
        if !network::link::is_forwarding() {
            warnings.push(
                "IPv4 forwarding is off on this host; it is switched on when the container starts, so that it reaches the world"
                    .to_owned(),
            );
        }
        if network::firewall::legacy_filter_is_active() {
            warnings.push(
                "this host has rules of iptables-legacy, which may keep packets from containers".to_owned(),
            );
        }
        Ok(warnings)
    }

    /// Connects a container that is about to start. None: it has no networks of ours.
    pub(crate) fn connect(&self, record: &Record) -> Result<Option<Connection>> {
        if record.spec.network != NetworkMode::Networks {
            return Ok(None);
        }
        self.check_links(record)?;
        let connection = self.fabric.connect(guest_of(record))?;
        self.note(&record.id, &connection.state, connection.resolution.upstreams.as_deref())?;
        Ok(Some(connection))
    }

    /// The files of a container in networks.
    pub(crate) fn network_texts(
        &self,
        record: &Record,
        state: &NetworkState,
        resolution: &Resolution,
        hostname: &str,
    ) -> EtcTexts {
        let addresses: Vec<IpAddr> =
            state.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).map(IpNet::addr).collect();
        let spec = &record.spec;
        let gateway = state.endpoints.iter().flat_map(|endpoint| &endpoint.gateways).next().copied();
        let host = (hostname, spec.domainname.as_str());
        let further = [&spec.networking.extra_hosts[..], &self.link_lines(record)].concat();
        EtcTexts {
            hosts: names::hosts(&addresses, host, &further, gateway),
            resolv_conf: resolution.text.clone(),
        }
    }

    /// What the last engine noted of a container that runs; it counts as connected again.
    pub(crate) fn take_up_network(&self, record: &Record) -> Arc<NetworkState> {
        let path = self.note_path(&record.id);
        let note = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let Some(Note { state, upstreams }) = note else { return Arc::default() };
        let connected = Connected { state: Arc::new(state), guest: guest_of(record), upstreams };
        self.fabric.remember(&connected);
        connected.state
    }

    /// Connects a container to one more network.
    pub(crate) async fn connect_more(
        self: &Arc<Self>,
        record: &Arc<Record>,
        network: &conflist::Network,
        mut endpoint: EndpointSpec,
    ) -> Result<()> {
        let turn = record.turn().await;
        if record.spec.network != NetworkMode::Networks {
            return Err(Error::Conflict(
                "container sharing network namespace with another container or host cannot be connected to any other network"
                    .into(),
            ));
        }
        endpoint.network.clone_from(&network.name);
        check(&endpoint)?;
        if !is_of_people(&endpoint.network) && !endpoint.links.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "containers are linked in the network {DEFAULT_NETWORK} only when they are created"
            )));
        }
        let mut endpoints = record.live.borrow().endpoints.clone();
        let run = record.live.borrow().state.run();
        if run.is_none() {
            // As dockerd: a container at rest gets another place in the network.
            endpoints.retain(|one| one.network != network.name);
        }
        if endpoints.iter().any(|one| one.network == network.name) {
            return Err(Error::Forbidden(format!(
                "endpoint with name {} already exists in network {}",
                record.name(),
                network.name
            )));
        }
        if endpoints.len() == ENDPOINTS_MAX {
            return Err(Error::InvalidArgument(format!("a container has at most {ENDPOINTS_MAX} networks")));
        }
        endpoints.push(endpoint.clone());
        let state = match run {
            Some(run) => {
                let (engine, own, network) = (self.clone(), record.clone(), network.clone());
                Some(blocking(move || engine.join(&own, run.pid, &network, &endpoint)).await?)
            }
            None => None,
        };
        self.store_endpoints(record, endpoints, state).await;
        drop(turn);
        Ok(())
    }

    /// Disconnects a container from a network.
    pub(crate) async fn disconnect_one(
        self: &Arc<Self>,
        record: &Arc<Record>,
        network: &conflist::Network,
    ) -> Result<()> {
        let turn = record.turn().await;
        let mut endpoints = record.live.borrow().endpoints.clone();
        let before = endpoints.len();
        endpoints.retain(|one| one.network != network.name);
        if endpoints.len() == before {
            return Err(Error::Conflict(format!(
                "container {} is not connected to network {}",
                record.id, network.name
            )));
        }
        let run = record.live.borrow().state.run();
        let state = match run {
            Some(run) => {
                let (engine, own, name) = (self.clone(), record.clone(), network.name.clone());
                Some(blocking(move || engine.leave(&own, run.pid, &name)).await?)
            }
            None => None,
        };
        self.store_endpoints(record, endpoints, state).await;
        drop(turn);
        Ok(())
    }

    /// A container has another name from now on.
    pub(crate) fn rename_in_networks(&self, record: &Record) -> Result<()> {
        let Some(mut connected) = self.fabric.connected(&record.id) else { return Ok(()) };
        let mut state = (*connected.state).clone();
        connected.guest.name = record.name();
        for endpoint in &mut state.endpoints {
            if let Some(name) = endpoint.names.first_mut() {
                name.clone_from(&connected.guest.name);
            }
        }
        connected.state = Arc::new(state);
        self.fabric.remember(&connected);
        self.note(&record.id, &connected.state, connected.upstreams.as_deref())?;
        record.live.send_modify(|live| live.network = connected.state.clone());
        self.fabric.tell_names(&connected)
    }

    async fn store_endpoints(
        self: &Arc<Self>,
        record: &Arc<Record>,
        endpoints: Vec<EndpointSpec>,
        state: Option<Arc<NetworkState>>,
    ) {
        record.live.send_modify(|live| {
            live.endpoints = endpoints;
            if let Some(state) = state {
                live.network = state;
            }
        });
        let (engine, own) = (self.clone(), record.clone());
        blocking(move || engine.store_state(&own, store::Commit::Durable)).await;
    }

    fn join(
        &self,
        record: &Record,
        pid: u32,
        network: &conflist::Network,
        spec: &EndpointSpec,
    ) -> Result<Arc<NetworkState>> {
        let connected = self.fabric.join(&record.id, pid, network, spec)?;
        self.changed(record, &connected)
    }

    fn leave(&self, record: &Record, pid: u32, network: &str) -> Result<Arc<NetworkState>> {
        let connected = self.fabric.leave(&record.id, pid, network)?;
        self.changed(record, &connected)
    }

    /// Notes a new state and brings the container's files along.
    fn changed(&self, record: &Record, connected: &Connected) -> Result<Arc<NetworkState>> {
        self.note(&record.id, &connected.state, connected.upstreams.as_deref())?;
        self.write_names(record, connected)?;
        Ok(connected.state.clone())
    }

    /// Writes the files of a container that runs anew.
    pub(super) fn write_names(&self, record: &Record, connected: &Connected) -> Result<()> {
        let resolution = resolution_of(connected);
        let hostname = self.hostname(&record.spec);
        let texts = self.network_texts(record, &connected.state, &resolution, &hostname);
        self.write_etc(&record.id, &hostname, &texts)?;
        Ok(())
    }

    /// In the bundle, because it goes with the run.
    fn note_path(&self, id: &str) -> PathBuf {
        self.bundle_path(id).join("network.json")
    }

    fn note(&self, id: &str, state: &NetworkState, upstreams: Option<&[std::net::SocketAddr]>) -> Result<()> {
        let path = self.note_path(id);
        let note = Note { state: state.clone(), upstreams: upstreams.map(<[_]>::to_vec) };
        let text = serde_json::to_vec(&note).expect("a note has only text keys");
        // A reader never sees half of it; a reboot clears it anyway, so that it need not reach the disk.
        let temporary = path.with_extension("new");
        let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|source| Error::File { what: "note the network in", path, source })
    }
}

impl Fabric {
    /// Connects a running container to one more network.
    fn join(
        &self,
        id: &str,
        pid: u32,
        network: &conflist::Network,
        spec: &EndpointSpec,
    ) -> Result<Connected> {
        let mut connected = self.connected(id).ok_or_else(|| Error::NoSuchContainer(id.to_owned()))?;
        self.make_ready(network)?;
        let used = |number: &usize| {
            let name = format!("eth{number}");
            connected.state.endpoints.iter().any(|endpoint| endpoint.interface == name)
        };
        let number = (0..=ENDPOINTS_MAX).find(|number| !used(number)).expect("fewer networks than numbers");
        let namespace = Namespace::of_process(pid)?;
        let endpoint = self.take_addresses(&connected.guest, spec, network, number)?;
        let mut state = (*connected.state).clone();
        let has_way_out = state.endpoints.iter().any(|one| !one.gateways.is_empty());
        connected.guest.endpoints.push(spec.clone());
        let attached = self.attach(&namespace, &endpoint, spec, network).and_then(|()| {
            state.endpoints.push(endpoint.clone());
            connected.state = Arc::new(state);
            if !has_way_out {
                namespace.links().add_default_routes(&endpoint.interface, &endpoint.gateways)?;
            }
            self.remember(&connected);
            self.tell_changed(&mut connected, &namespace)
        });
        if let Err(error) = attached {
            let _gone_already = namespace.links().remove_link(&endpoint.interface);
            self.give_back(id, &endpoint);
            return Err(error);
        }
        Ok(connected)
    }

    /// Disconnects a running container from a network.
    fn leave(&self, id: &str, pid: u32, network: &str) -> Result<Connected> {
        let mut connected = self.connected(id).ok_or_else(|| Error::NoSuchContainer(id.to_owned()))?;
        let mut state = (*connected.state).clone();
        let Some(position) = state.endpoints.iter().position(|one| one.network == network) else {
            return Ok(connected);
        };
        let endpoint = state.endpoints.remove(position);
        connected.guest.endpoints.retain(|one| one.network != network);
        let namespace = Namespace::of_process(pid)?;
        namespace.links().remove_link(&endpoint.interface)?;
        // Its routes went with the interface; another network may have a way out, too.
        if let Some(other) = state.endpoints.iter().find(|one| !one.gateways.is_empty()) {
            namespace.links().add_default_routes(&other.interface, &other.gateways)?;
        }
        self.give_back(id, &endpoint);
        connected.state = Arc::new(state);
        self.remember(&connected);
        self.tell_changed(&mut connected, &namespace)?;
        Ok(connected)
    }

    /// Tells who is where now; a container that comes to have names by that gets a resolver.
    fn tell_changed(&self, connected: &mut Connected, namespace: &Namespace) -> Result<()> {
        let resolution = resolution_of(connected);
        let is_new = resolution.upstreams.is_some() && connected.upstreams.is_none();
        connected.upstreams = resolution.upstreams;
        self.remember(connected);
        if is_new { self.tell_resident(connected, namespace, &[]) } else { self.tell_names(connected) }
    }
}

fn guest_of(record: &Record) -> Guest {
    let spec = &record.spec;
    Guest {
        id: record.id.clone(),
        name: record.name(),
        endpoints: record.live.borrow().endpoints.clone(),
        networking: spec.networking.clone(),
        sysctls: network_sysctls(spec),
    }
}

fn resolution_of(connected: &Connected) -> Resolution {
    let has_names = has_names(&connected.state.endpoints) || connected.upstreams.is_some();
    names::resolution(&host_resolv_conf(), &connected.guest.networking, has_names)
}

fn has_names(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| endpoint.network != DEFAULT_NETWORK)
}

/// Docker's rules for what may be asked of the default network.
fn check(endpoint: &EndpointSpec) -> Result<()> {
    let refuse = |what: &str| Err(Error::InvalidArgument(what.to_owned()));
    if is_of_people(&endpoint.network) {
        return Ok(());
    }
    if endpoint.ipv4.is_some() || endpoint.ipv6.is_some() {
        return refuse("user specified IP address is supported on user defined networks only");
    }
    if !endpoint.aliases.is_empty() {
        return refuse("network-scoped alias is supported only for containers in user defined networks");
    }
    Ok(())
}
