//! Networks: what there are, and which containers are connected to which.
//!
//! A network is a CNI conflist in the directory of network configurations; the file is the truth. `bridge` is the default
//! network: it is made when the first container needs it. `host` and `none` are no networks of ours but names that
//! clients list.

mod book;
mod create;
pub(crate) mod fabric;
mod guard;
mod links;
mod members;
mod names;
mod ports;
mod ready;
mod residence;
mod subnets;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use network::conflist;
use serde::{Deserialize, Serialize};

use crate::blocking::blocking;
use crate::containers::record::Record;
use crate::containers::spec::{EndpointSpec, Port};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::namespaces::Namespace;
use crate::prune::{PruneFilter, has_labels};
use fabric::DEFAULT_NETWORK;

pub(crate) use names::LOCAL_HOSTS;
pub use ports::PortHolder;

/// Name and driver of what is no network of ours.
const BUILTIN: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The networks of the engine. Wherever a network is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Networks {
    pub(crate) engine: Arc<Engine>,
    /// Of the containers that are connected by name.
    pub(crate) namespace: Namespace,
}

/// A network at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// `bridge`, `host`, `null`, or the type of another CNI plugin.
    pub driver: String,
    pub created_ns: Option<i64>,
    /// Its containers reach only each other.
    pub internal: bool,
    /// Somebody asked for it by that word; containers may be attached to all of ours.
    pub attachable: bool,
    pub ipv6: bool,
    pub subnets: Vec<Subnet>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Containers that run in it.
    pub members: Vec<Member>,
    /// `bridge`, `host` and `none`, which nobody can remove.
    pub is_builtin: bool,
}

/// A prefix of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub subnet: IpNet,
    /// None: whoever chose the prefix left it to us.
    pub gateway: Option<IpAddr>,
    /// Where addresses are taken from, if not from the whole subnet.
    pub ip_range: Option<IpNet>,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub container: String,
    pub name: String,
    pub endpoint: Endpoint,
}

/// A container's place in a network, while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: String,
    pub network_id: String,
    pub network: String,
    /// In the container: `eth0`.
    pub interface: String,
    /// Its other end, on the host.
    pub host_interface: String,
    /// `02:42:ac:11:00:02`
    pub mac: String,
    /// At most one of each family.
    pub addresses: Vec<IpNet>,
    pub gateways: Vec<IpAddr>,
    /// What containers of the network find it by.
    pub names: Vec<String>,
}

/// A port of a running container, and where the host has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub container: Port,
    pub host_ip: IpAddr,
    pub host_port: u16,
}

/// The network of a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<PublishedPort>,
}

/// A network to be made.
#[derive(Debug, Clone, Default)]
pub struct NetworkRequest {
    pub name: String,
    /// Empty: `bridge`.
    pub driver: String,
    pub internal: bool,
    pub attachable: bool,
    pub ipv6: bool,
    /// Empty: a free prefix is chosen.
    pub subnets: Vec<SubnetRequest>,
    /// `com.docker.network.bridge.name`, `com.docker.network.driver.mtu`, …
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// A prefix for a network to be made. No gateway: the first address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRequest {
    pub subnet: IpNet,
    pub gateway: Option<IpAddr>,
    pub ip_range: Option<IpNet>,
}

/// Which networks `list` returns.
#[derive(Debug, Clone, Default)]
pub struct NetworkFilter {
    /// Parts of names.
    pub names: Vec<String>,
    /// Prefixes of ids.
    pub ids: Vec<String>,
    pub drivers: Vec<String>,
    pub labels: Vec<(String, Option<String>)>,
    /// No container uses it.
    pub dangling: Option<bool>,
    /// Built in, or made by somebody.
    pub builtin: Option<bool>,
}

impl Networks {
    /// Makes a network; returns its id.
    pub async fn create(&self, request: NetworkRequest) -> Result<String> {
        let _turn = self.engine.networks_turn.lock().await;
        let engine = self.engine.clone();
        let network = blocking(move || engine.fabric.create(request)).await?;
        self.engine.publish_network("create", &network, None);
        Ok(network.id)
    }

    /// One network.
    pub async fn inspect(&self, network: &str) -> Result<Network> {
        let (engine, name) = (self.engine.clone(), network.to_owned());
        blocking(move || {
            match BUILTIN.iter().find(|(builtin, _)| *builtin == name || is_id(builtin, &name)) {
                Some((name, driver)) => Ok(builtin(name, driver)),
                None => Ok(engine.network_view(&engine.find_network(&name)?)),
            }
        })
        .await
    }

    /// Those that match, by name.
    pub async fn list(&self, filter: &NetworkFilter) -> Result<Vec<Network>> {
        let (engine, filter) = (self.engine.clone(), filter.clone());
        blocking(move || {
            let mut networks = vec![engine.fabric.default_network()?];
            networks.extend(engine.fabric.book.list()?);
            networks.dedup_by(|one, other| one.name == other.name);
            let mut views: Vec<Network> =
                networks.iter().map(|network| engine.network_view(network)).collect();
            views.extend(BUILTIN.iter().map(|(name, driver)| builtin(name, driver)));
            views.sort_by(|one, other| one.name.cmp(&other.name));
            views.dedup_by(|one, other| one.name == other.name);
            views.retain(|network| filter.matches(network));
            Ok(views)
        })
        .await
    }

    /// Removes it, unless a container uses it.
    pub async fn remove(&self, network: &str) -> Result<()> {
        let _turn = self.engine.networks_turn.lock().await;
        let (engine, name) = (self.engine.clone(), network.to_owned());
        let removed = blocking(move || engine.remove_network(&name)).await?;
        self.engine.publish_network("destroy", &removed, None);
        Ok(())
    }

    /// Removes every network that matches and that no container uses; returns their names.
    pub async fn prune(&self, filter: &PruneFilter) -> Result<Vec<String>> {
        let unused = NetworkFilter { dangling: Some(true), builtin: Some(false), ..NetworkFilter::default() };
        let mut pruned = Vec::new();
        for network in self.list(&unused).await? {
            if !filter.matches(&network.labels, network.created_ns) {
                continue;
            }
            match self.remove(&network.id).await {
                Ok(()) => pruned.push(network.name),
                // Used or removed since we looked.
                Err(Error::Forbidden(_) | Error::NoSuchNetwork(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.engine.publish_pruned(None, Kind::Network, 0);
        Ok(pruned)
    }

    /// Connects a container, at once if it runs.
    pub async fn connect(&self, network: &str, container: &str, endpoint: EndpointSpec) -> Result<()> {
        let record = self.engine.index.find(&self.namespace, container)?;
        let (engine, name) = (self.engine.clone(), network.to_owned());
        let network = blocking(move || {
            refuse_builtin(&name)?;
            engine.find_network(&name)
        })
        .await?;
        self.engine.connect_more(&record, &network, endpoint).await?;
        self.engine.publish_network("connect", &network, Some(&record.id));
        Ok(())
    }

    /// Disconnects a container. `force`: it need not exist any more, if its place in the network does.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let record = self.engine.index.find(&self.namespace, container).map_err(|error| match error {
            // Who forces it means what a container that has gone has left; here nothing is left of it.
            Error::NoSuchContainer(name) if force => Error::NoSuchEndpoint(name),
            error => error,
        })?;
        let (engine, name) = (self.engine.clone(), network.to_owned());
        let network = blocking(move || engine.find_network(&name)).await?;
        self.engine.disconnect_one(&record, &network).await?;
        self.engine.publish_network("disconnect", &network, Some(&record.id));
        Ok(())
    }
}

impl NetworkFilter {
    fn matches(&self, network: &Network) -> bool {
        let any =
            |wanted: &[String], fits: &dyn Fn(&String) -> bool| wanted.is_empty() || wanted.iter().any(fits);
        any(&self.names, &|name| network.name.contains(name.as_str()))
            && any(&self.ids, &|id| network.id.starts_with(id.as_str()))
            && any(&self.drivers, &|driver| network.driver == *driver)
            && self
                .dangling
                .is_none_or(|dangling| (network.members.is_empty() && !network.is_builtin) == dangling)
            && self.builtin.is_none_or(|builtin| network.is_builtin == builtin)
            && has_labels(&network.labels, &self.labels)
    }
}

impl Engine {
    /// The network of that name or id.
    pub(crate) fn find_network(&self, name: &str) -> Result<conflist::Network> {
        let default = self.fabric.default_network()?;
        match name == default.name || (!name.is_empty() && default.id.starts_with(name)) {
            true => Ok(default),
            false => self.fabric.book.find(name),
        }
    }

    fn remove_network(&self, name: &str) -> Result<conflist::Network> {
        if BUILTIN.iter().any(|(builtin, _)| *builtin == name || is_id(builtin, name)) {
            return Err(Error::Forbidden(format!("{name} is a pre-defined network and cannot be removed")));
        }
        let network = self.find_network(name)?;
        if network.name == DEFAULT_NETWORK {
            return Err(Error::Forbidden(format!(
                "{DEFAULT_NETWORK} is a pre-defined network and cannot be removed"
            )));
        }
        let members = self.members(&network.name);
        if !members.is_empty() {
            let users: Vec<String> = members
                .iter()
                .map(|member| format!("name:{:?} id:{:?}", member.name, &member.endpoint.id[..12]))
                .collect();
            return Err(Error::Forbidden(format!(
                "error while removing network: network {} has active endpoints ({})",
                network.name,
                users.join(", ")
            )));
        }
        self.fabric.take_down(&network)?;
        self.fabric.book.remove(&network.name)?;
        self.fabric.ipam().forget(&network.name)?;
        Ok(network)
    }

    /// The containers that run in a network.
    fn members(&self, network: &str) -> Vec<Member> {
        let of_record = |record: Arc<Record>| {
            let state = record.live.borrow().network.clone();
            let endpoint = state.endpoints.iter().find(|endpoint| endpoint.network == network)?.clone();
            Some(Member { container: record.id.clone(), name: record.name(), endpoint })
        };
        self.index.all().into_iter().filter_map(of_record).collect()
    }

    fn network_view(&self, network: &conflist::Network) -> Network {
        let bridge = network.bridge();
        let subnets = bridge.map(|bridge| bridge.subnets.clone()).unwrap_or_default();
        let subnet = |one: &conflist::Subnet| Subnet {
            subnet: one.subnet,
            gateway: (!one.is_gateway_ours).then_some(one.gateway),
            ip_range: one.ip_range,
        };
        Network {
            id: network.id.clone(),
            name: network.name.clone(),
            driver: match &network.driver {
                conflist::Driver::Bridge(_) => "bridge".into(),
                conflist::Driver::Other(plugin) => plugin.clone(),
            },
            created_ns: network.created_ns,
            internal: bridge.is_some_and(|bridge| bridge.internal),
            attachable: network.attachable,
            ipv6: bridge.is_some_and(conflist::Bridge::is_ipv6),
            subnets: subnets.iter().map(subnet).collect(),
            options: match (bridge, network.name == DEFAULT_NETWORK) {
                (Some(bridge), true) => create::options_of_default(bridge),
                _ => network.options.clone(),
            },
            labels: network.labels.clone(),
            members: self.members(&network.name),
            is_builtin: network.name == DEFAULT_NETWORK,
        }
    }

    /// Says of each network of a running container that it has it now (`connect`), or not any more (`disconnect`).
    pub(crate) fn publish_endpoints(&self, record: &Record, action: &str) {
        let network = record.live.borrow().network.clone();
        for endpoint in &network.endpoints {
            let attributes = [("container", &record.id), ("name", &endpoint.network)];
            let mut attributes: BTreeMap<String, String> =
                attributes.map(|(key, value)| (key.to_owned(), value.clone())).into();
            attributes.insert("type".into(), "bridge".into());
            self.events.publish(None, Kind::Network, action, (&endpoint.network_id, attributes));
        }
    }

    fn publish_network(&self, action: &str, network: &conflist::Network, container: Option<&str>) {
        let mut attributes = BTreeMap::from([("name".to_owned(), network.name.clone())]);
        attributes.insert("type".into(), "bridge".into());
        attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
        self.events.publish(None, Kind::Network, action, (&network.id, attributes));
    }
}

/// The same on every machine and after every start.
fn builtin_id(name: &str) -> String {
    oci::digest::Digest::of(name.as_bytes()).hex().to_owned()
}

fn is_id(name: &str, text: &str) -> bool {
    !text.is_empty() && builtin_id(name).starts_with(text)
}

/// Docker's words for who wants to join what is no network.
fn refuse_builtin(name: &str) -> Result<()> {
    match BUILTIN.iter().find(|(builtin, _)| *builtin == name || is_id(builtin, name)) {
        None => Ok(()),
        Some(("host", _)) => Err(Error::Forbidden(
            "cannot connect container to host network - container must be created in host network mode".into(),
        )),
        Some(_) => Err(Error::Forbidden(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                .into(),
        )),
    }
}

fn builtin(name: &str, driver: &str) -> Network {
    Network {
        id: builtin_id(name),
        name: name.into(),
        driver: driver.into(),
        created_ns: None,
        internal: false,
        attachable: false,
        ipv6: false,
        subnets: Vec::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        members: Vec::new(),
        is_builtin: true,
    }
}
