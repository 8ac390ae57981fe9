//! A container's places in networks, in both directions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use api::docker::container::NetworkSettings;
use api::docker::network::{EndpointIpamConfig, EndpointSettings};
use engine::containers::Container;
use engine::containers::spec::{EndpointSpec, Link, NetworkMode};
use engine::networks::Endpoint;
use ipnet::IpNet;

use super::{network, ports};
use crate::call::ApiVersion;
use crate::error::{Error, Result};
use crate::networks::builtin_id;

/// Docker's default network: containers in it find each other by address only.
pub(crate) const BRIDGE: &str = "bridge";

/// From this version on, an alias is what somebody asked for; before it the short id was one, too.
const ONLY_ASKED_ALIASES: ApiVersion = ApiVersion::new(1, 45);

/// Reads what a client asks of a container's place in the network `name`. What inspect showed of an older place
/// (ids and addresses that were given) is skipped, as dockerd does, because clients send it back.
pub(crate) fn read(name: &str, settings: EndpointSettings) -> Result<EndpointSpec> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let refused = [
        (settings.driver_opts.is_some_and(|options| !options.is_empty()), "`--driver-opt`", "DriverOpts"),
        (settings.gw_priority != 0, "`--gw-priority`", "GwPriority"),
    ];
    if let Some((_, flag, field)) = refused.iter().find(|(is_set, ..)| *is_set) {
        return Err(Error::not_there_yet(format!("{flag} in the network `{name}` (field {field})")));
    }
    let spec = EndpointSpec {
        network: name.to_owned(),
        aliases: settings.aliases.unwrap_or_default(),
        ipv4: address("IPv4", &ipam.ipv4_address)?,
        ipv6: address("IPv6", &ipam.ipv6_address)?,
        mac: mac(&settings.mac_address)?,
        links: settings.links.iter().flatten().map(|text| link(text)).collect::<Result<_>>()?,
        link_local: ipam
            .link_local_ips
            .iter()
            .flatten()
            .map(|text| link_local(name, text))
            .collect::<Result<_>>()?,
    };
    if matches!(name, BRIDGE | "host" | "none") {
        if !spec.aliases.is_empty() {
            return Err(Error::invalid(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        if spec.ipv4.is_some() || spec.ipv6.is_some() {
            return Err(Error::invalid(
                "user specified IP address is supported on user defined networks only",
            ));
        }
    }
    Ok(spec)
}

/// `CONTAINER[:ALIAS]`, or `/CONTAINER:/OWN/ALIAS` as inspect shows it.
pub(crate) fn link(text: &str) -> Result<Link> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    let parts: Vec<&str> = text.split(':').collect();
    let (container, alias) = match parts[..] {
        [""] => return Err(Error::invalid("empty string specified for links")),
        [name] => (name, name),
        [shown, alias] if shown.starts_with('/') => {
            (&shown[1..], alias.rsplit('/').next().unwrap_or_default())
        }
        // As dockerd: who says nothing after the colon means the same name.
        [name, ""] => (name, name),
        [name, alias] => (name, alias),
        _ => return Err(Error::invalid(format!("bad format for links: {text}"))),
    };
    match alias.contains(odd) {
        true => Err(Error::invalid(format!("bad format for links: {text}"))),
        false => Ok(Link { container: container.to_owned(), alias: alias.to_owned() }),
    }
}

fn link_local(network: &str, text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "invalid config for network {network}: invalid endpoint settings:\ninvalid link-local IP address: {text}"
        ))
    })
}

/// `HostConfig.Links`: those of the default network.
pub(crate) fn describe_links(container: &Container) -> Option<Vec<String>> {
    let default = container.endpoints.iter().find(|endpoint| endpoint.network == BRIDGE)?;
    let shown = |link: &Link| format!("/{}:/{}/{}", link.container, container.name, link.alias);
    Some(default.links.iter().map(shown).collect()).filter(|links: &Vec<_>| !links.is_empty())
}

/// `02:42:ac:11:00:02`, or with `-`; none: empty.
pub(crate) fn mac(text: &str) -> Result<Option<[u8; 6]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::invalid(format!("invalid MAC address {text:?}"));
    let byte = |digits: &str| {
        let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(digits, 16).ok())?
    };
    let bytes: Option<Vec<u8>> = text.split([':', '-']).map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Some).ok_or_else(wrong)
}

fn address<T: FromStr>(family: &str, text: &str) -> Result<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::invalid(format!("invalid {family} address: {text}")))
}

/// `NetworkSettings` as inspect shows it.
pub(crate) fn describe(container: &Container, version: ApiVersion) -> NetworkSettings {
    let networks = describe_networks(container, version);
    let bridge = networks.get(BRIDGE).cloned().unwrap_or_default();
    NetworkSettings {
        ports: ports::describe(container),
        // What Docker showed before a container could be in several networks.
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        mac_address: bridge.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

/// The networks that a container is in, or will be in when it starts.
pub(crate) fn describe_networks(
    container: &Container,
    version: ApiVersion,
) -> BTreeMap<String, EndpointSettings> {
    match &container.spec.network {
        // The networks are those of the other container.
        NetworkMode::Container(_) => BTreeMap::new(),
        NetworkMode::Host | NetworkMode::None => {
            let name = network::name(&container.spec);
            let settings = EndpointSettings { network_id: builtin_id(&name), ..EndpointSettings::default() };
            BTreeMap::from([(name, settings)])
        }
        NetworkMode::Networks => {
            let described = |spec: &EndpointSpec| {
                let mut settings = describe_one(spec, live(container, &spec.network));
                if version < ONLY_ASKED_ALIASES && spec.network != BRIDGE {
                    let short = container.id.get(..12).unwrap_or(&container.id).to_owned();
                    settings.aliases.get_or_insert_default().push(short);
                }
                (spec.network.clone(), settings)
            };
            container.endpoints.iter().map(described).collect()
        }
    }
}

/// The place that a running container has in a network.
fn live<'a>(container: &'a Container, network: &str) -> Option<&'a Endpoint> {
    container.network.endpoints.iter().find(|endpoint| endpoint.network == network)
}

fn describe_one(spec: &EndpointSpec, live: Option<&Endpoint>) -> EndpointSettings {
    let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let ipam = EndpointIpamConfig {
        ipv4_address: text(spec.ipv4.map(IpAddr::V4)),
        ipv6_address: text(spec.ipv6.map(IpAddr::V6)),
        link_local_ips: Some(spec.link_local.iter().map(ToString::to_string).collect())
            .filter(|addresses: &Vec<_>| !addresses.is_empty()),
    };
    // Those of the default network are shown with the host's configuration.
    let links = spec.links.iter().filter(|_| spec.network != BRIDGE);
    let links = links.map(|Link { container, alias }| format!("{container}:{alias}")).collect();
    let asked = EndpointSettings {
        links: Some(links).filter(|links: &Vec<_>| !links.is_empty()),
        ipam_config: Some(ipam).filter(|ipam| *ipam != EndpointIpamConfig::default()),
        aliases: Some(spec.aliases.clone()).filter(|aliases| !aliases.is_empty()),
        ..EndpointSettings::default()
    };
    let Some(live) = live else { return asked };
    let gateway = |is_ipv6| text(live.gateways.iter().find(|one| one.is_ipv6() == is_ipv6).copied());
    let (ip_address, ip_prefix_len) = address_of(live, false);
    let (global_ipv6_address, global_ipv6_prefix_len) = address_of(live, true);
    EndpointSettings {
        mac_address: live.mac.clone(),
        network_id: live.network_id.clone(),
        endpoint_id: live.id.clone(),
        gateway: gateway(false),
        ip_address,
        ip_prefix_len,
        ipv6_gateway: gateway(true),
        global_ipv6_address,
        global_ipv6_prefix_len,
        dns_names: Some(live.names.clone()).filter(|names| !names.is_empty()),
        ..asked
    }
}

/// Address and length of its prefix; nothing and 0 where it has none of that family.
fn address_of(endpoint: &Endpoint, is_ipv6: bool) -> (String, i64) {
    let is_wanted = |net: &&IpNet| net.addr().is_ipv6() == is_ipv6;
    let found = endpoint.addresses.iter().find(is_wanted);
    found.map(|net| (net.addr().to_string(), net.prefix_len().into())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Endpoint, EndpointSpec, describe_one, read};

    fn refusal(network: &str, settings: Value) -> String {
        read(network, serde_json::from_value(settings).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_asked_of_a_place_is_shown_again() {
        let asked = json!({"IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.7.7"]},
                "Aliases": ["db"], "Links": ["one:uno", "two", "three:", "/four:/own/quattro"]});
        let spec = read("mine", serde_json::from_value(asked.clone()).unwrap()).unwrap();
        let shown = serde_json::to_value(describe_one(&spec, None)).unwrap();
        assert_eq!((&shown["IPAMConfig"], &shown["Aliases"]), (&asked["IPAMConfig"], &asked["Aliases"]));
        assert_eq!(shown["Links"], json!(["one:uno", "two:two", "three:three", "four:quattro"]));
        assert_eq!((&shown["NetworkID"], &shown["IPAddress"]), (&json!(""), &json!("")));
        let plain = read("mine", serde_json::from_value(json!({"NetworkID": "abc", "Links": []})).unwrap());
        assert_eq!(plain.unwrap(), EndpointSpec { network: "mine".into(), ..EndpointSpec::default() });
    }

    #[test]
    fn a_place_is_shown_with_its_addresses_of_both_families() {
        let live = Endpoint {
            id: "e".into(),
            network_id: "n".into(),
            network: "mine".into(),
            interface: "eth0".into(),
            host_interface: "veth0".into(),
            mac: "02:42:0a:01:00:02".into(),
            addresses: vec!["fd00::2/64".parse().unwrap(), "10.1.0.2/24".parse().unwrap()],
            gateways: vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            names: vec!["web".into(), "0123".into()],
        };
        let shown = serde_json::to_value(describe_one(&EndpointSpec::default(), Some(&live))).unwrap();
        let want = json!({
            "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "02:42:0a:01:00:02", "NetworkID": "n",
            "EndpointID": "e", "Gateway": "10.1.0.1", "IPAddress": "10.1.0.2", "IPPrefixLen": 24, "DriverOpts": null, "GwPriority": 0,
            "IPv6Gateway": "fd00::1", "GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64, "DNSNames": ["web", "0123"],
        });
        assert_eq!(shown, want);
    }

    #[test]
    fn what_a_place_cannot_have_is_refused_by_name() {
        for (network, settings, want) in [
            ("mine", json!({"Links": ["a:b:c"]}), "bad format for links: a:b:c"),
            ("mine", json!({"Links": ["a:b c"]}), "bad format for links: a:b c"),
            ("mine", json!({"Links": [""]}), "empty string specified for links"),
            ("mine", json!({"MacAddress": "x"}), "invalid MAC address \"x\""),
            ("mine", json!({"MacAddress": "02:42:ac:11:00"}), "invalid MAC address"),
            ("mine", json!({"DriverOpts": {"a": "b"}}), "`--driver-opt`"),
            ("mine", json!({"GwPriority": 1}), "`--gw-priority`"),
            (
                "mine",
                json!({"IPAMConfig": {"LinkLocalIPs": ["x"]}}),
                "invalid config for network mine: invalid endpoint settings:\ninvalid link-local IP address: x",
            ),
            ("mine", json!({"IPAMConfig": {"IPv4Address": "::1"}}), "invalid IPv4 address: ::1"),
            ("mine", json!({"IPAMConfig": {"IPv6Address": "x"}}), "invalid IPv6 address: x"),
            ("bridge", json!({"Aliases": ["x"]}), "network-scoped alias is supported only for"),
            ("bridge", json!({"IPAMConfig": {"IPv4Address": "1.2.3.4"}}), "user specified IP address"),
        ] {
            let error = refusal(network, settings.clone());
            assert!(error.starts_with(want), "{settings}: {error}");
        }
    }
}
