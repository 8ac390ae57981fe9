//! `--link` in the default network: the other container's address in `/etc/hosts`, and what it serves in the environment.
//! In other networks a link is a name that `corten-net` knows.

use std::net::IpAddr;
use std::sync::Arc;

use super::fabric::DEFAULT_NETWORK;
use crate::containers::record::Record;
use crate::containers::spec::{ContainerSpec, ExtraHost, Link, Port};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::namespaces::Namespace;

/// Of the other container's environment, what says nothing about its service.
const OF_EVERYBODY: [&str; 2] = ["HOME", "PATH"];

/// A container that is linked to and runs.
struct Linked {
    link: Link,
    record: Arc<Record>,
    address: IpAddr,
}

impl Engine {
    /// Names linked containers by their ids: names may change.
    pub(crate) fn resolve_links(&self, namespace: &Namespace, spec: &mut ContainerSpec) -> Result<()> {
        let endpoints = &mut spec.networking.endpoints;
        for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.network == DEFAULT_NETWORK) {
            for link in &mut endpoint.links {
                let asked = &link.container;
                let unknown = |why: String| {
                    Error::InvalidArgument(format!("could not get container for {asked}: {why}"))
                };
                if asked.is_empty() {
                    return Err(unknown("invalid name or ID supplied: \"\"".into()));
                }
                let found = self.index.find(namespace, asked);
                let record = found.map_err(|error| unknown(error.to_string()))?;
                link.container.clone_from(&record.id);
            }
        }
        Ok(())
    }

    /// Refuses the start of a container that links to one that does not run.
    pub(super) fn check_links(&self, record: &Record) -> Result<()> {
        for link in links(record) {
            let other = self.index.by_id(&link.container).ok();
            if other.as_ref().and_then(address).is_none() {
                let name = other.map_or(link.container, |other| other.name());
                let own = record.name();
                return Err(Error::Conflict(format!(
                    "Cannot link to a non running container: /{name} AS /{own}/{}",
                    link.alias
                )));
            }
        }
        Ok(())
    }

    /// Lines of `/etc/hosts`.
    pub(super) fn link_lines(&self, record: &Record) -> Vec<ExtraHost> {
        let line = |linked: Linked| {
            let (alias, name) = (linked.link.alias, linked.record.name());
            let mut names = format!("{alias} {}", self.hostname(&linked.record.spec));
            if alias != name {
                names += &format!(" {name}");
            }
            ExtraHost { name: names, address: Some(linked.address) }
        };
        self.linked(record).into_iter().map(line).collect()
    }

    /// Variables of the environment; the container's own go before them.
    pub(crate) fn link_env(&self, record: &Record) -> Vec<String> {
        let own = record.name();
        let variables = self.linked(record).into_iter().flat_map(|linked| {
            let spec = &linked.record.spec;
            let published = spec.networking.ports.iter().map(|port| port.container);
            let ports = published.chain(spec.networking.exposed.iter().copied()).collect();
            variables(&own, &linked.link.alias, linked.address, ports, &spec.env)
        });
        let is_own =
            |variable: &String| record.spec.env.iter().any(|entry| name_of(entry) == name_of(variable));
        variables.filter(|variable| !is_own(variable)).collect()
    }

    /// A container has an address, perhaps another one than before: those that link to it learn it.
    pub(crate) fn tell_linked(&self, record: &Record) {
        for other in self.index.all() {
            if links(&other).iter().all(|link| link.container != record.id) {
                continue;
            }
            let Some(connected) = self.fabric.connected(&other.id) else { continue };
            if let Err(error) = self.write_names(&other, &connected) {
                let error = error.chain();
                tracing::warn!(container = other.id, error, "a link has an old address");
            }
        }
    }

    fn linked(&self, record: &Record) -> Vec<Linked> {
        let linked = links(record).into_iter().filter_map(|link| {
            let record = self.index.by_id(&link.container).ok()?;
            Some(Linked { address: address(&record)?, link, record })
        });
        linked.collect()
    }
}

fn links(record: &Record) -> Vec<Link> {
    let live = record.live.borrow();
    let default = live.endpoints.iter().find(|endpoint| endpoint.network == DEFAULT_NETWORK);
    default.map(|endpoint| endpoint.links.clone()).unwrap_or_default()
}

/// A container's first address in the default network, while it runs.
fn address(record: &Arc<Record>) -> Option<IpAddr> {
    let live = record.live.borrow();
    live.state.run()?;
    let endpoint = live.network.endpoints.iter().find(|endpoint| endpoint.network == DEFAULT_NETWORK)?;
    endpoint.addresses.first().map(|prefix| prefix.addr())
}

fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

/// What Docker tells of a linked container: its ports, the lowest one first, what the container is called, and its environment.
fn variables(own: &str, alias: &str, address: IpAddr, ports: Vec<Port>, env: &[String]) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut ports = ports;
    ports.sort();
    ports.dedup();
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let mut variables = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (number, protocol) = (port.number, port.protocol.as_str());
        let url = format!("{protocol}://{host}:{number}");
        if index == 0 {
            variables.push(format!("{prefix}_PORT={url}"));
        }
        let name = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        variables.push(format!("{name}={url}"));
        variables.push(format!("{name}_ADDR={address}"));
        variables.push(format!("{name}_PORT={number}"));
        variables.push(format!("{name}_PROTO={protocol}"));
    }
    variables.push(format!("{prefix}_NAME=/{own}/{alias}"));
    let told = env.iter().filter(|entry| entry.contains('=') && !OF_EVERYBODY.contains(&name_of(entry)));
    variables.extend(told.map(|entry| format!("{prefix}_ENV_{entry}")));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::spec::Protocol;

    #[test]
    fn a_link_tells_ports_name_and_environment() {
        let port = |number, protocol| Port { number, protocol };
        let ports = vec![port(5433, Protocol::Udp), port(5432, Protocol::Tcp), port(5432, Protocol::Tcp)];
        let env = ["PATH=/bin", "HOME=/", "PW=a=b", "ODD"].map(str::to_owned);
        let told = variables("web", "data-base", "10.0.0.2".parse().unwrap(), ports, &env);
        let want = [
            "PORT=tcp://10.0.0.2:5432",
            "PORT_5432_TCP=tcp://10.0.0.2:5432",
            "PORT_5432_TCP_ADDR=10.0.0.2",
            "PORT_5432_TCP_PORT=5432",
            "PORT_5432_TCP_PROTO=tcp",
            "PORT_5433_UDP=udp://10.0.0.2:5433",
            "PORT_5433_UDP_ADDR=10.0.0.2",
            "PORT_5433_UDP_PORT=5433",
            "PORT_5433_UDP_PROTO=udp",
            "NAME=/web/data-base",
            "ENV_PW=a=b",
        ];
        assert_eq!(told, want.map(|line| format!("DATA_BASE_{line}")));
        assert_eq!(variables("web", "db", "10.0.0.2".parse().unwrap(), vec![], &[]), ["DB_NAME=/web/db"]);
    }
}
