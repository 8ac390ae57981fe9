//! Ports: `80/tcp` and where the host has it, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::docker::Present;
use api::docker::container::{Port as PortLine, PortMap};
use api::docker::host_config::PortBinding;
use engine::containers::Container;
use engine::containers::spec::{NetworkSpec, Port, PortSpec, Protocol};

use crate::error::{Error, Result};

/// Reads `Config.ExposedPorts`.
pub(crate) fn read_exposed(ports: &Option<BTreeMap<String, Present>>) -> Result<BTreeSet<Port>> {
    ports.iter().flatten().map(|(text, _)| read_port(text)).collect()
}

/// Reads `HostConfig.PortBindings`. A port without bindings asks for nothing but to be exposed.
pub(crate) fn read_bindings(map: &Option<PortMap>) -> Result<(Vec<PortSpec>, BTreeSet<Port>)> {
    let (mut published, mut exposed) = (Vec::new(), BTreeSet::new());
    for (text, bindings) in map.iter().flatten() {
        let container = read_port(text)?;
        let bindings = bindings.as_deref().unwrap_or_default();
        if bindings.is_empty() {
            exposed.insert(container);
        }
        for binding in bindings {
            published.push(PortSpec {
                container,
                host_ip: read_address(&binding.host_ip)?,
                host_ports: read_host_ports(&binding.host_port)?,
            });
        }
    }
    Ok((published, exposed))
}

/// Reads `80/tcp`, `53/udp` or `80`, which is `80/tcp`.
fn read_port(text: &str) -> Result<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => return Err(Error::not_there_yet(format!("SCTP (the port `{text}`)"))),
        _ => return Err(Error::invalid(format!("invalid proto: {protocol}"))),
    };
    Ok(Port { number: read_number(number).ok_or_else(|| wrong(text))?, protocol })
}

fn read_address(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Some).map_err(|_| Error::invalid(format!("invalid IP address: {text}")))
}

/// Reads `8080`, `8000-8010`, or nothing; 0 is any free port as well.
fn read_host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (read_number(first), read_number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Some((first, last))),
        _ => Err(wrong(text)),
    }
}

/// A port number; Rust would take a sign as well.
fn read_number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number > 0)
}

fn wrong(text: &str) -> Error {
    Error::invalid(format!("invalid port specification: {text:?}"))
}

/// `HostConfig.PortBindings` as inspect shows it.
pub(crate) fn describe_bindings(spec: &NetworkSpec) -> PortMap {
    let mut map = PortMap::new();
    for port in &spec.ports {
        let host_port = match port.host_ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let host_ip = port.host_ip.map(|address| address.to_string()).unwrap_or_default();
        let bindings = map.entry(port.container.to_string()).or_default();
        bindings.get_or_insert_default().push(PortBinding { host_ip, host_port });
    }
    map
}

/// `Config.ExposedPorts` as inspect shows it.
pub(crate) fn describe_exposed(spec: &NetworkSpec) -> Option<BTreeMap<String, Present>> {
    let ports: BTreeMap<_, _> = spec.exposed.iter().map(|port| (port.to_string(), Present)).collect();
    Some(ports).filter(|ports| !ports.is_empty())
}

/// `NetworkSettings.Ports`: where a running container's ports are; `null` for those that are exposed only.
pub(crate) fn describe(container: &Container) -> PortMap {
    let exposed = exposed(container).map(|port| (port.to_string(), None));
    let mut map: PortMap = exposed.collect();
    for port in &container.network.ports {
        let bindings = map.entry(port.container.to_string()).or_default();
        bindings
            .get_or_insert_default()
            .push(PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host_port.to_string() });
    }
    map
}

/// The same as a list has it.
pub(crate) fn list(container: &Container) -> Vec<PortLine> {
    let published = &container.network.ports;
    let unpublished = exposed(container).filter(|port| published.iter().all(|one| one.container != **port));
    let line = |port: &Port| PortLine {
        private_port: port.number,
        kind: port.protocol.as_str().into(),
        ..PortLine::default()
    };
    unpublished
        .map(line)
        .chain(published.iter().map(|port| PortLine {
            ip: port.host_ip.to_string(),
            public_port: Some(port.host_port),
            ..line(&port.container)
        }))
        .collect()
}

/// What a container exposes while it is in a network.
fn exposed(container: &Container) -> impl Iterator<Item = &Port> {
    let is_connected = !container.network.endpoints.is_empty();
    container.spec.networking.exposed.iter().filter(move |_| is_connected)
}

/// The filters `publish` and `expose` of a list: a container is shown for one port that fits.
#[derive(Debug, Default)]
pub(crate) struct PortFilter {
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
}

/// `80`, `80/udp`, `8000-8080/tcp`.
#[derive(Debug)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: String,
}

impl PortFilter {
    /// Reads the values of both filters.
    pub(crate) fn read(publish: &[String], expose: &[String]) -> Result<PortFilter> {
        let ranges = |name: &str, values: &[String]| {
            values.iter().map(|value| PortRange::read(name, value)).collect::<Result<Vec<_>>>()
        };
        Ok(PortFilter { publish: ranges("publish", publish)?, expose: ranges("expose", expose)? })
    }

    /// Whether a container with these ports is shown.
    pub(crate) fn matches(&self, ports: &[PortLine]) -> bool {
        let fits = |ranges: &[PortRange], number: Option<u16>, kind: &str| {
            number.is_some_and(|number| ranges.iter().any(|range| range.contains(number, kind)))
        };
        (self.publish.is_empty() && self.expose.is_empty())
            || ports.iter().any(|port| {
                fits(&self.publish, port.public_port, &port.kind)
                    || fits(&self.expose, Some(port.private_port), &port.kind)
            })
    }
}

impl PortRange {
    fn read(name: &str, value: &str) -> Result<PortRange> {
        if value.contains(':') {
            return Err(Error::invalid(format!("filter for '{name}' should not contain ':': {value}")));
        }
        let (numbers, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        match (read_number(first), read_number(last)) {
            (Some(first), Some(last)) if first <= last => {
                Ok(PortRange { first, last, protocol: protocol.to_ascii_lowercase() })
            }
            _ => Err(Error::invalid(format!("error while looking up for {name} {value}: it is no port"))),
        }
    }

    fn contains(&self, number: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&number) && self.protocol == protocol
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NetworkSpec, PortFilter, describe_bindings, read_bindings};
    use api::docker::container::Port as PortLine;

    /// What inspect shows of the bindings that were read.
    fn shown(bindings: &Value) -> Result<Value, String> {
        let map = serde_json::from_value(bindings.clone()).unwrap();
        let (ports, _) = read_bindings(&map).map_err(|error| error.to_string())?;
        let spec = NetworkSpec { ports, ..NetworkSpec::default() };
        Ok(serde_json::to_value(describe_bindings(&spec)).unwrap())
    }

    #[test]
    fn bindings_are_shown_as_they_were_asked_for() {
        for same in [
            json!({}),
            json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
            json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}, {"HostIp": "::1", "HostPort": "1"}]}),
            json!({"53/udp": [{"HostIp": "", "HostPort": "8000-8010"}]}),
        ] {
            assert_eq!(shown(&same).unwrap(), same);
        }
        let short = json!({"80": [{"HostPort": "0"}], "81/TCP": [{"HostIp": "[::]", "HostPort": "5-5"}], "82/udp": []});
        let long = json!({"80/tcp": [{"HostIp": "", "HostPort": ""}], "81/tcp": [{"HostIp": "::", "HostPort": "5"}]});
        assert_eq!(shown(&short).unwrap(), long);
    }

    #[test]
    fn a_port_without_bindings_is_exposed_only() {
        let map =
            serde_json::from_value(json!({"80/tcp": null, "81/udp": [], "82": [{"HostPort": "1"}]})).unwrap();
        let (published, exposed) = read_bindings(&map).unwrap();
        assert_eq!(published.len(), 1);
        let exposed: Vec<String> = exposed.iter().map(ToString::to_string).collect();
        assert_eq!(exposed, ["80/tcp", "81/udp"]);
    }

    #[test]
    fn wrong_bindings_are_named() {
        for (bindings, want) in [
            (json!({"x/tcp": null}), "invalid port specification: \"x/tcp\""),
            (json!({"0/tcp": null}), "invalid port specification: \"0/tcp\""),
            (json!({"65536": null}), "invalid port specification: \"65536\""),
            (json!({"+80": null}), "invalid port specification: \"+80\""),
            (json!({"80/xyz": null}), "invalid proto: xyz"),
            (json!({"80/sctp": null}), "SCTP (the port `80/sctp`) is not there yet"),
            (json!({"80": [{"HostPort": "x"}]}), "invalid port specification: \"x\""),
            (json!({"80": [{"HostPort": "9-8"}]}), "invalid port specification: \"9-8\""),
            (json!({"80": [{"HostIp": "localhost"}]}), "invalid IP address: localhost"),
        ] {
            assert_eq!(shown(&bindings).unwrap_err(), want, "{bindings}");
        }
    }

    #[test]
    fn ports_are_filtered_by_both_their_sides() {
        let ports = [
            PortLine { private_port: 80, public_port: Some(8080), kind: "tcp".into(), ip: "::".into() },
            PortLine { private_port: 53, kind: "udp".into(), ..PortLine::default() },
        ];
        let matches = |publish: &[&str], expose: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            PortFilter::read(&owned(publish), &owned(expose)).map(|filter| filter.matches(&ports))
        };
        for (publish, expose, want) in [
            (vec![], vec![], true),
            (vec!["8080"], vec![], true),
            (vec!["8000-9000/tcp"], vec![], true),
            (vec!["80"], vec![], false),
            (vec!["8080/udp"], vec![], false),
            (vec![], vec!["80"], true),
            (vec![], vec!["53/udp"], true),
            (vec![], vec!["53"], false),
            (vec!["1"], vec!["2", "80"], true),
        ] {
            assert_eq!(matches(&publish, &expose).unwrap(), want, "{publish:?} {expose:?}");
        }
        let colon = matches(&["1:2"], &[]).unwrap_err().to_string();
        assert_eq!(colon, "filter for 'publish' should not contain ':': 1:2");
        assert!(matches(&[], &["9-8"]).is_err());
    }
}
