//! Networks: what there are, and which containers are connected to which.
//!
//! A network is a CNI conflist in the directory of network configurations; the file is the truth. `bridge` is the default
//! network: it is made when the first container needs it. `host` and `none` are no networks of ours but names that
//! clients list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::containers::spec::{EndpointSpec, Port};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The networks of the engine. Wherever a network is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Networks {
    engine: Arc<Engine>,
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
        Err(Error::Unsupported(format!("making network {}", request.name)))
    }

    /// One network.
    pub async fn inspect(&self, network: &str) -> Result<Network> {
        Err(Error::NoSuchNetwork(network.to_owned()))
    }

    /// Those that match, by name.
    pub async fn list(&self, _filter: &NetworkFilter) -> Result<Vec<Network>> {
        Ok(Vec::new())
    }

    /// Removes it, unless a container uses it.
    pub async fn remove(&self, network: &str) -> Result<()> {
        Err(Error::NoSuchNetwork(network.to_owned()))
    }

    /// Removes every network that no container uses (and that matches the labels); returns their names.
    pub async fn prune(&self, _labels: &[(String, Option<String>)]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Connects a container, at once if it runs.
    pub async fn connect(&self, network: &str, _container: &str, _endpoint: EndpointSpec) -> Result<()> {
        Err(Error::NoSuchNetwork(network.to_owned()))
    }

    /// Disconnects a container. `force`: one that does not exist any more is no error.
    pub async fn disconnect(&self, network: &str, _container: &str, _force: bool) -> Result<()> {
        Err(Error::NoSuchNetwork(network.to_owned()))
    }
}

impl Engine {
    /// The networks.
    pub fn networks(self: &Arc<Self>) -> Networks {
        Networks { engine: self.clone() }
    }
}
