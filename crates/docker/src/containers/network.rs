//! Whose network a container uses, what it publishes there, and the names that it knows.
//!
//! Docker says it in three places: `HostConfig.NetworkMode` names the first network, `NetworkingConfig` may ask for more
//! networks and for addresses and aliases in each, and the rest is spread over both configurations.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::docker::container::Config;
use api::docker::host_config::HostConfig;
use api::docker::network::{EndpointSettings, NetworkingConfig};
use engine::containers::ContainerSpec;
use engine::containers::spec::{EndpointSpec, ExtraHost, Link, NetworkMode, NetworkSpec};

use super::endpoints::{self, BRIDGE};
use super::{host, ports};
use crate::call::ApiVersion;
use crate::error::{Error, Result};

/// The first version in which a container can be created in several networks.
const SEVERAL_NETWORKS: ApiVersion = ApiVersion::new(1, 44);

/// The address of the host, whatever it is, in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";

/// What a client asked of a container's network.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) mode: NetworkMode,
    pub(crate) spec: NetworkSpec,
    /// What was asked for and means nothing with that mode.
    pub(crate) warnings: Vec<String>,
}

/// What a client says about networks, wherever it says it.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) config: &'a Config,
    pub(crate) host: &'a HostConfig,
    pub(crate) networking: Option<NetworkingConfig>,
    pub(crate) version: ApiVersion,
}

/// Reads all of it.
pub(crate) fn read(request: Request<'_>) -> Result<Asked> {
    let Request { config, host, networking, version } = request;
    if config.network_disabled {
        return Ok(Asked { mode: NetworkMode::None, spec: NetworkSpec::default(), warnings: Vec::new() });
    }
    let mode = read_mode(&host.network_mode)?;
    if matches!(mode, NetworkMode::Container(_)) {
        refuse_with_container(config, host)?;
    }
    let links = read_links(&mode, host)?;
    let wanted = networking.and_then(|networking| networking.endpoints_config).unwrap_or_default();
    if wanted.len() > 1 && version < SEVERAL_NETWORKS {
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        return Err(Error::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    let (ports, mut exposed) = ports::read_bindings(&host.port_bindings)?;
    exposed.extend(ports::read_exposed(&config.exposed_ports)?);
    let mut endpoints = read_endpoints(&mode, &host.network_mode, wanted)?;
    if let Some(first) = endpoints.first_mut() {
        let further = links.into_iter().filter(|link| !first.links.contains(link)).collect::<Vec<_>>();
        first.links.extend(further);
    }
    let mut spec = NetworkSpec {
        endpoints: with_mac(endpoints, &config.mac_address)?,
        ports,
        publish_all: host.publish_all_ports,
        exposed,
        dns: host.dns.iter().flatten().map(|text| read_name_server(text)).collect::<Result<_>>()?,
        dns_search: words(&host.dns_search, |text| format!("{text} is not a valid domain"))?,
        dns_options: words(&host.dns_options, |text| format!("invalid DNS option: {text:?}"))?,
        extra_hosts: host
            .extra_hosts
            .iter()
            .flatten()
            .map(|text| read_extra_host(text))
            .collect::<Result<_>>()?,
    };
    let warnings = match mode {
        NetworkMode::Host => without_ports("host", host, &mut spec)?,
        NetworkMode::None => without_ports("none", host, &mut spec)?,
        NetworkMode::Container(_) | NetworkMode::Networks => Vec::new(),
    };
    Ok(Asked { mode, spec, warnings })
}

/// What means nothing where the container has no network of its own, or none at all: as dockerd, ports are discarded with
/// a warning. Names would matter to dockerd even there, so they are refused.
fn without_ports(mode: &str, host: &HostConfig, spec: &mut NetworkSpec) -> Result<Vec<String>> {
    for (is_set, flag, field) in [
        (!spec.dns.is_empty(), "--dns", "Dns"),
        (!spec.dns_search.is_empty(), "--dns-search", "DnsSearch"),
        (!spec.dns_options.is_empty(), "--dns-option", "DnsOptions"),
        (!spec.extra_hosts.is_empty(), "--add-host", "ExtraHosts"),
    ] {
        if is_set {
            return Err(Error::not_there_yet(format!(
                "`{flag}` with `--network {mode}` (field HostConfig.{field})"
            )));
        }
    }
    let mut warnings = Vec::new();
    if host.links.as_ref().is_some_and(|links| !links.is_empty()) {
        warnings.push(format!("Links are discarded when using {mode} network mode"));
    }
    if !spec.ports.is_empty() || host.publish_all_ports {
        spec.ports.clear();
        spec.publish_all = false;
        warnings.push(format!("Published ports are discarded when using {mode} network mode"));
    }
    Ok(warnings)
}

/// `HostConfig.Links`: what a container of the default network calls others, or one that says it of no certain network.
fn read_links(mode: &NetworkMode, host: &HostConfig) -> Result<Vec<Link>> {
    let links = host.links.iter().flatten().map(|text| endpoints::link(text)).collect::<Result<Vec<_>>>()?;
    let conflict = |what| {
        Err(Error::invalid(format!(
            "conflicting options: {what} can't be used with links. This would result in undefined behavior"
        )))
    };
    match mode {
        _ if links.is_empty() => Ok(links),
        NetworkMode::Host => conflict("host type networking"),
        NetworkMode::Container(_) => conflict("container type network"),
        NetworkMode::None | NetworkMode::Networks => Ok(links),
    }
}

fn read_mode(mode: &str) -> Result<NetworkMode> {
    match mode {
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        mode if mode.starts_with("container:") => match host::container_of(mode) {
            Some(container) => Ok(NetworkMode::Container(container)),
            None => Err(Error::invalid("Invalid network mode: invalid container format container:<name|id>")),
        },
        _ => Ok(NetworkMode::Networks),
    }
}

/// What belongs to the container whose network is shared.
fn refuse_with_container(config: &Config, host: &HostConfig) -> Result<()> {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let publishes = host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|map| !map.is_empty());
    let conflicts = [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (has(&host.dns) || has(&host.dns_search) || has(&host.dns_options), "dns and the network mode"),
        (!config.mac_address.is_empty(), "mac-address and the network mode"),
        (has(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (publishes, "port publishing and the container type network mode"),
        (
            config.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty()),
            "port exposing and the container type network mode",
        ),
    ];
    match conflicts.iter().find(|(is_set, _)| *is_set) {
        Some((_, what)) => Err(Error::invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

/// The address that clients below API 1.44 give the container is that of its first network.
fn with_mac(mut endpoints: Vec<EndpointSpec>, text: &str) -> Result<Vec<EndpointSpec>> {
    let Some(mac) = endpoints::mac(text)? else { return Ok(endpoints) };
    let Some(first) = endpoints.first_mut() else {
        return Err(Error::invalid("conflicting options: mac-address and the network mode"));
    };
    match first.mac {
        Some(other) if other != mac => Err(Error::invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        )),
        _ => {
            first.mac = Some(mac);
            Ok(endpoints)
        }
    }
}

/// The networks of a container: that of the mode first, then the others by name.
fn read_endpoints(
    mode: &NetworkMode,
    mode_name: &str,
    wanted: BTreeMap<String, Option<EndpointSettings>>,
) -> Result<Vec<EndpointSpec>> {
    let is_default = matches!(mode_name, "" | "default" | BRIDGE);
    let first = if is_default { BRIDGE } else { mode_name };
    let mut places = wanted
        .into_iter()
        .map(|(name, settings)| {
            let name = if name == "default" { BRIDGE } else { &name };
            endpoints::read(name, settings.unwrap_or_default())
        })
        .collect::<Result<Vec<_>>>()?;
    if *mode != NetworkMode::Networks {
        return match places.iter().any(|place| place.network != mode_name) {
            true if *mode == NetworkMode::None => Err(Error::invalid(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            )),
            true => Err(Error::invalid(
                "container sharing network namespace with another container or host cannot be connected to any other network",
            )),
            false => Ok(Vec::new()),
        };
    }
    if let Some(odd) = places.iter().find(|place| matches!(place.network.as_str(), "host" | "none")) {
        return Err(Error::invalid(format!(
            "a container with networks of its own cannot be connected to the network `{}`",
            odd.network
        )));
    }
    // As dockerd: who asks for networks and for no mode does not want the default one as well.
    let is_named = places.iter().any(|place| place.network == first);
    if !is_named && (places.is_empty() || !is_default) {
        places.push(EndpointSpec { network: first.to_owned(), ..EndpointSpec::default() });
    }
    places.sort_by_key(|place| (place.network != first, place.network.clone()));
    Ok(places)
}

fn read_name_server(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::invalid(format!("IP address is not correctly formatted: {text}")))
}

/// Texts that are written into `resolv.conf`, one after another.
fn words(list: &Option<Vec<String>>, complaint: impl Fn(&str) -> String) -> Result<Vec<String>> {
    let is_word =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let checked = list.iter().flatten().map(|text| match is_word(text) {
        true => Ok(text.clone()),
        false => Err(Error::invalid(complaint(text))),
    });
    checked.collect()
}

/// `name:address`, or `name=address`; an IPv6 address may be in brackets.
fn read_extra_host(text: &str) -> Result<ExtraHost> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '#');
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(odd))
        .ok_or_else(|| Error::invalid(format!("bad format for add-host: {text:?}")))?;
    let bare = address.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(address);
    let address = match bare {
        HOST_GATEWAY => None,
        bare => Some(
            bare.parse().map_err(|_| Error::invalid(format!("invalid IP address in add-host: {bare:?}")))?,
        ),
    };
    Ok(ExtraHost { name: name.to_owned(), address })
}

/// The network mode in Docker's words.
pub(crate) fn name(spec: &ContainerSpec) -> String {
    match &spec.network {
        NetworkMode::None => "none".into(),
        NetworkMode::Host => "host".into(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Networks => {
            spec.networking.endpoints.first().map_or_else(|| BRIDGE.into(), |first| first.network.clone())
        }
    }
}

/// The half of `HostConfig` that is about networks, as inspect shows it.
pub(crate) fn describe(spec: &ContainerSpec, host: &mut HostConfig) {
    let NetworkSpec { dns, dns_search, dns_options, extra_hosts, publish_all, .. } = &spec.networking;
    host.network_mode = name(spec);
    host.port_bindings = Some(ports::describe_bindings(&spec.networking));
    host.publish_all_ports = *publish_all;
    host.dns = Some(dns.iter().map(ToString::to_string).collect());
    host.dns_search = Some(dns_search.clone());
    host.dns_options = Some(dns_options.clone());
    let lines = extra_hosts.iter().map(|ExtraHost { name, address }| match address {
        Some(address) => format!("{name}:{address}"),
        None => format!("{name}:{HOST_GATEWAY}"),
    });
    host.extra_hosts = Some(lines.collect()).filter(|lines: &Vec<_>| !lines.is_empty());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Asked, HostConfig, NetworkMode, Request, describe, read};
    use crate::call::{ApiVersion, MAX_VERSION};
    use engine::containers::ContainerSpec;

    /// The configuration, the half of the host, the endpoints.
    fn ask_at(version: ApiVersion, config: Value, host: Value, endpoints: Value) -> Result<Asked, String> {
        let config = serde_json::from_value(config).unwrap();
        let host: HostConfig = serde_json::from_value(host).unwrap();
        let networking = serde_json::from_value(json!({"EndpointsConfig": endpoints})).unwrap();
        let request = Request { config: &config, host: &host, networking: Some(networking), version };
        read(request).map_err(|error| error.to_string())
    }

    fn ask(host: Value, endpoints: Value) -> Result<Asked, String> {
        ask_at(MAX_VERSION, json!({}), host, endpoints)
    }

    #[test]
    fn the_mode_is_the_first_network() {
        let cases = [
            ("", json!(null), vec!["bridge"]),
            ("default", json!({"default": null}), vec!["bridge"]),
            ("bridge", json!({}), vec!["bridge"]),
            ("mine", json!(null), vec!["mine"]),
            ("mine", json!({"a": {}, "mine": {"Aliases": ["x"]}}), vec!["mine", "a"]),
            ("mine", json!({"other": {}}), vec!["mine", "other"]),
            ("", json!({"b": {}, "a": {}}), vec!["a", "b"]),
            ("default", json!({"a": {}, "bridge": {}}), vec!["bridge", "a"]),
        ];
        for (mode, endpoints, want) in cases {
            let asked = ask(json!({"NetworkMode": mode}), endpoints.clone()).unwrap();
            let names: Vec<&str> = asked.spec.endpoints.iter().map(|one| one.network.as_str()).collect();
            assert_eq!((asked.mode, names), (NetworkMode::Networks, want), "{mode} {endpoints}");
        }
        for (mode, want) in [
            ("none", NetworkMode::None),
            ("host", NetworkMode::Host),
            ("container:a", NetworkMode::Container("a".into())),
        ] {
            let asked = ask(json!({"NetworkMode": mode}), json!({mode: {}})).unwrap();
            assert_eq!((asked.mode, asked.spec.endpoints), (want, vec![]));
        }
        let disabled = json!({"NetworkDisabled": true});
        let asked = ask_at(MAX_VERSION, disabled, json!({"NetworkMode": "mine"}), json!({})).unwrap();
        assert_eq!(asked.mode, NetworkMode::None);
    }

    #[test]
    fn what_contradicts_the_mode_is_refused_with_dockers_words() {
        let with = |mut host: Value| {
            host["NetworkMode"] = "container:a".into();
            ask(host, json!({})).unwrap_err()
        };
        let bindings = json!({"80/tcp": [{"HostPort": "80"}]});
        for (host, want) in [
            (json!({"Dns": ["1.1.1.1"]}), "dns and the network mode"),
            (json!({"DnsSearch": ["a"]}), "dns and the network mode"),
            (json!({"ExtraHosts": ["a:1.1.1.1"]}), "custom host-to-IP mapping and the network mode"),
            (json!({"PortBindings": bindings}), "port publishing and the container type network mode"),
            (json!({"PublishAllPorts": true}), "port publishing and the container type network mode"),
        ] {
            assert_eq!(with(host.clone()), format!("conflicting options: {want}"), "{host}");
        }
        let of_container =
            |config| ask_at(MAX_VERSION, config, json!({"NetworkMode": "container:a"}), json!({}));
        assert_eq!(
            of_container(json!({"ExposedPorts": {"80/tcp": {}}})).unwrap_err(),
            "conflicting options: port exposing and the container type network mode"
        );
        assert_eq!(
            of_container(json!({"Hostname": "x"})).unwrap_err(),
            "conflicting options: hostname and the network mode"
        );
        for (mode, want) in [
            ("container:", "Invalid network mode: invalid container format container:<name|id>"),
            ("host", "container sharing network namespace with another container or host"),
            ("container:a", "container sharing network namespace with another container or host"),
            ("none", "container cannot be connected to multiple networks"),
        ] {
            let error = ask(json!({"NetworkMode": mode}), json!({"mine": {}})).unwrap_err();
            assert!(error.starts_with(want), "{mode}: {error}");
        }
        let error = ask(json!({}), json!({"mine": {}, "host": {}})).unwrap_err();
        assert!(error.ends_with("cannot be connected to the network `host`"), "{error}");
    }

    #[test]
    fn old_versions_know_one_network_at_creation() {
        let two = || json!({"a": {}, "b": {}});
        let error = ask_at(ApiVersion::new(1, 43), json!({}), json!({}), two()).unwrap_err();
        assert_eq!(error, "Container cannot be created with multiple network endpoints: a, b");
        assert!(ask_at(ApiVersion::new(1, 44), json!({}), json!({}), two()).is_ok());
    }

    #[test]
    fn ports_of_a_network_that_has_none_are_discarded_with_a_warning() {
        for mode in ["host", "none"] {
            let host = json!({"NetworkMode": mode, "PortBindings": {"80/tcp": [{"HostPort": "80"}]}});
            let asked = ask(host, json!({})).unwrap();
            let warning = format!("Published ports are discarded when using {mode} network mode");
            assert_eq!((asked.spec.ports, &asked.warnings), (vec![], &vec![warning]));
            let all = ask(json!({"NetworkMode": mode, "PublishAllPorts": true}), json!({})).unwrap();
            assert_eq!((all.spec.publish_all, all.warnings), (false, asked.warnings));
        }
    }

    #[test]
    fn names_where_there_is_no_network_are_refused() {
        for (host, flag) in [
            (json!({"Dns": ["1.1.1.1"]}), "--dns"),
            (json!({"DnsSearch": ["a"]}), "--dns-search"),
            (json!({"DnsOptions": ["a"]}), "--dns-option"),
            (json!({"ExtraHosts": ["a:1.1.1.1"]}), "--add-host"),
        ] {
            for mode in ["host", "none"] {
                let mut host = host.clone();
                host["NetworkMode"] = mode.into();
                let error = ask(host, json!({})).unwrap_err();
                assert!(error.starts_with(&format!("`{flag}` with `--network {mode}` (field ")), "{error}");
            }
        }
    }

    #[test]
    fn names_are_shown_as_they_were_asked_for() {
        let host = json!({
            "NetworkMode": "mine", "PublishAllPorts": true, "Dns": ["1.1.1.1", "::1"], "DnsSearch": ["."], "DnsOptions": ["ndots:2"],
            "ExtraHosts": ["a:1.2.3.4", "b=::1", "c:[fd00::1]", "d:host-gateway", "e:fd00::2"],
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "1-2"}]},
        });
        let asked = ask(host.clone(), json!({})).unwrap();
        let spec = ContainerSpec { network: asked.mode, networking: asked.spec, ..ContainerSpec::default() };
        let mut shown = HostConfig::default();
        describe(&spec, &mut shown);
        let shown = serde_json::to_value(shown).unwrap();
        let lines = json!(["a:1.2.3.4", "b:::1", "c:fd00::1", "d:host-gateway", "e:fd00::2"]);
        assert_eq!(shown["ExtraHosts"], lines);
        for field in ["NetworkMode", "PublishAllPorts", "Dns", "DnsSearch", "DnsOptions", "PortBindings"] {
            assert_eq!(shown[field], host[field], "{field}");
        }
    }

    #[test]
    fn names_that_would_break_a_file_are_refused() {
        for (host, want) in [
            (json!({"Dns": ["x"]}), "IP address is not correctly formatted: x"),
            (json!({"DnsSearch": ["a b"]}), "a b is not a valid domain"),
            (json!({"DnsOptions": ["a\nnameserver"]}), "invalid DNS option: \"a\\nnameserver\""),
            (json!({"ExtraHosts": ["a"]}), "bad format for add-host: \"a\""),
            (json!({"ExtraHosts": [":1.1.1.1"]}), "bad format for add-host: \":1.1.1.1\""),
            (json!({"ExtraHosts": ["a b:1.1.1.1"]}), "bad format for add-host: \"a b:1.1.1.1\""),
            (json!({"ExtraHosts": ["a:b"]}), "invalid IP address in add-host: \"b\""),
        ] {
            assert_eq!(ask(host.clone(), json!({})).unwrap_err(), want, "{host}");
        }
    }
}
