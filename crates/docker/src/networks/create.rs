//! `POST /networks/create`: from Docker's body to the engine's request.

use std::net::IpAddr;

use api::docker::StringMap;
use api::docker::network::{IpamConfig, NetworkCreateBody};
use engine::networks::{NetworkRequest, SubnetRequest};
use ipnet::IpNet;

use crate::error::{Error, Result};

/// Reads what is asked for; what is not there yet is refused by its flag and field.
pub(crate) fn read(body: NetworkCreateBody) -> Result<NetworkRequest> {
    check_driver(&body.driver)?;
    refuse(&body)?;
    let ipv6 = body.enable_ipv6.unwrap_or_default();
    let prefixes = body.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let subnets = prefixes
        .iter()
        // Clients that have nothing to say send an empty one.
        .filter(|prefix| **prefix != IpamConfig::default())
        .map(|prefix| read_subnet(prefix, ipv6))
        .collect::<Result<Vec<_>, String>>()
        .map_err(|reason| Error::invalid(format!("invalid network config:\n{reason}")))?;
    Ok(NetworkRequest {
        name: body.name,
        driver: body.driver,
        internal: body.internal,
        attachable: body.attachable,
        ipv6,
        subnets,
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    })
}

/// A bridge is the only driver that networks can be made with.
fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | "bridge" => Ok(()),
        "host" | "null" => {
            Err(Error::Forbidden(format!("only one instance of \"{driver}\" network is allowed")))
        }
        "ipvlan" | "macvlan" | "overlay" => {
            Err(Error::not_there_yet(format!("the network driver `{driver}` (`--driver`)")))
        }
        _ => Err(Error::NotFound(format!("plugin {driver:?} not found"))),
    }
}

fn refuse(body: &NetworkCreateBody) -> Result<()> {
    let has = |map: &Option<StringMap>| map.as_ref().is_some_and(|map| !map.is_empty());
    let ipam = body.ipam.clone().unwrap_or_default();
    // What only a swarm has, and what would be in a plugin or in a network that there cannot be: as dockerd says it without them.
    if body.ingress {
        return Err(Error::Forbidden("Ingress network can only be global scope network".into()));
    }
    if let Some(from) = body.config_from.as_ref().filter(|from| !from.network.is_empty()) {
        return Err(Error::NotFound(format!("configuration network {:?} does not exist", from.network)));
    }
    match body.scope.as_str() {
        "" | super::SCOPE => {}
        "swarm" => {
            let why = "cannot create a swarm scoped network when swarm is not active";
            return Err(Error::Forbidden(why.into()));
        }
        scope => return Err(Error::invalid(format!("invalid network scope {scope:?}"))),
    }
    if !matches!(ipam.driver.as_str(), "" | "default" | "null") {
        return Err(Error::NotFound(format!("plugin {:?} not found", ipam.driver)));
    }
    let has_auxiliary = ipam.config.iter().flatten().any(|prefix| has(&prefix.auxiliary_addresses));
    let refused = [
        (body.config_only, "`--config-only`", "ConfigOnly"),
        (body.enable_ipv4 == Some(false), "`--ipv4=false`", "EnableIPv4"),
        (ipam.driver == "null", "`--ipam-driver null`", "IPAM.Driver"),
        (has(&ipam.options), "`--ipam-opt`", "IPAM.Options"),
        (has_auxiliary, "`--aux-address`", "IPAM.Config.AuxiliaryAddresses"),
    ];
    match refused.iter().find(|(is_set, ..)| *is_set) {
        Some((_, flag, field)) => Err(Error::not_there_yet(format!("{flag} (field {field})"))),
        None => Ok(()),
    }
}

/// One prefix, with dockerd's complaints.
fn read_subnet(config: &IpamConfig, ipv6: bool) -> Result<SubnetRequest, String> {
    let IpamConfig { subnet: text, ip_range, gateway, .. } = config;
    let subnet: IpNet =
        text.parse().map_err(|_| format!("invalid subnet {text}: invalid CIDR block notation"))?;
    if !ipv6 && is_ipv6(subnet.addr()) {
        return Err(format!("invalid subnet {text}: IPv6 has not been enabled for this network"));
    }
    if subnet != subnet.trunc() {
        return Err(format!("invalid subnet {subnet}: it should be {}", subnet.trunc()));
    }
    let gateway = (!gateway.is_empty()).then(|| read_gateway(gateway, subnet));
    let ip_range = (!ip_range.is_empty()).then(|| read_range(ip_range, subnet));
    Ok(SubnetRequest { subnet, gateway: gateway.transpose()?, ip_range: ip_range.transpose()? })
}

fn read_gateway(text: &str, subnet: IpNet) -> Result<IpAddr, String> {
    let wrong = |reason: String| format!("invalid gateway {text}: {reason}");
    let address: IpAddr = text.parse().map_err(|_| wrong("invalid address".into()))?;
    if is_ipv6(address) != is_ipv6(subnet.addr()) {
        return Err(wrong(format!("parent subnet is an {} block", family(subnet))));
    }
    match subnet.contains(&address) {
        true => Ok(address),
        false => Err(wrong(format!("parent subnet {subnet} doesn't contain this address"))),
    }
}

fn read_range(text: &str, subnet: IpNet) -> Result<IpNet, String> {
    let wrong = |reason: String| format!("invalid ip-range {text}: {reason}");
    let range: IpNet = text.parse().map_err(|_| wrong("invalid CIDR block notation".into()))?;
    if is_ipv6(range.addr()) != is_ipv6(subnet.addr()) {
        return Err(wrong(format!("parent subnet is an {} block", family(subnet))));
    }
    if range.prefix_len() < subnet.prefix_len() {
        return Err(wrong(format!("CIDR block is bigger than its parent subnet {subnet}")));
    }
    if range != range.trunc() {
        return Err(wrong(format!("it should be {}", range.trunc())));
    }
    match subnet.contains(&range) {
        true => Ok(range),
        false => Err(wrong(format!("parent subnet {subnet} doesn't contain ip-range"))),
    }
}

fn is_ipv6(address: IpAddr) -> bool {
    address.is_ipv6()
}

fn family(subnet: IpNet) -> &'static str {
    if is_ipv6(subnet.addr()) { "IPv6" } else { "IPv4" }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NetworkRequest, SubnetRequest, read};
    use crate::error::Error;

    fn ask(body: Value) -> Result<NetworkRequest, Error> {
        read(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn fields_arrive() {
        let request = ask(json!({
            "Name": "mine", "CheckDuplicate": true, "Driver": "bridge", "EnableIPv6": true, "Internal": true, "Attachable": true, "Scope": "local",
            "EnableIPv4": true, "ConfigFrom": {"Network": ""}, "Options": {"com.docker.network.driver.mtu": "1400"},
            "Labels": {"a": "b"}, "IPAM": {"Driver": "default", "Options": {}, "Config": [
                {"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.9", "IPRange": "10.1.5.0/24", "AuxiliaryAddresses": {}},
                {"Subnet": "fd00::/64"}, {}]},
        }))
        .unwrap();
        assert_eq!((request.name.as_str(), request.driver.as_str()), ("mine", "bridge"));
        assert!(request.internal && request.ipv6 && request.attachable);
        assert_eq!(request.options["com.docker.network.driver.mtu"], "1400");
        assert_eq!(request.labels["a"], "b");
        let first = SubnetRequest {
            subnet: "10.1.0.0/16".parse().unwrap(),
            gateway: Some("10.1.0.9".parse().unwrap()),
            ip_range: Some("10.1.5.0/24".parse().unwrap()),
        };
        let second = SubnetRequest { subnet: "fd00::/64".parse().unwrap(), gateway: None, ip_range: None };
        assert_eq!(request.subnets, [first, second]);
        assert!(ask(json!({"Name": "mine"})).unwrap().subnets.is_empty());
    }

    #[test]
    fn wrong_prefixes_are_refused_with_dockers_words() {
        for (config, want) in [
            (json!({"Subnet": "foobar"}), "invalid subnet foobar: invalid CIDR block notation"),
            (json!({"Gateway": "10.0.0.1"}), "invalid subnet : invalid CIDR block notation"),
            (json!({"Subnet": "10.0.0.5/24"}), "invalid subnet 10.0.0.5/24: it should be 10.0.0.0/24"),
            (
                json!({"Subnet": "fd00::/64"}),
                "invalid subnet fd00::/64: IPv6 has not been enabled for this network",
            ),
            (json!({"Subnet": "10.0.0.0/24", "Gateway": "x"}), "invalid gateway x: invalid address"),
            (
                json!({"Subnet": "10.0.0.0/24", "Gateway": "10.1.0.1"}),
                "invalid gateway 10.1.0.1: parent subnet 10.0.0.0/24 doesn't contain this address",
            ),
            (
                json!({"Subnet": "10.0.0.0/24", "Gateway": "::1"}),
                "invalid gateway ::1: parent subnet is an IPv4 block",
            ),
            (
                json!({"Subnet": "10.0.0.0/24", "IPRange": "x"}),
                "invalid ip-range x: invalid CIDR block notation",
            ),
            (
                json!({"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.0/8"}),
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.0.0.0/24",
            ),
            (
                json!({"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.3/25"}),
                "invalid ip-range 10.0.0.3/25: it should be 10.0.0.0/25",
            ),
            (
                json!({"Subnet": "10.0.0.0/24", "IPRange": "10.1.0.0/25"}),
                "invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
            ),
        ] {
            let error = ask(json!({"Name": "n", "IPAM": {"Config": [config]}})).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid network config:\n{want}"));
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (body, status, want) in [
            (json!({"Driver": "weave"}), 404, "plugin \"weave\" not found"),
            (json!({"Driver": "macvlan"}), 501, "the network driver `macvlan` (`--driver`) is not there yet"),
            (json!({"Driver": "host"}), 403, "only one instance of \"host\" network is allowed"),
            (json!({"Ingress": true}), 403, "Ingress network can only be global scope network"),
            (json!({"ConfigOnly": true}), 501, "`--config-only` (field ConfigOnly) is not there yet"),
            (json!({"ConfigFrom": {"Network": "x"}}), 404, "configuration network \"x\" does not exist"),
            (json!({"Scope": "swarm"}), 403, "cannot create a swarm scoped network when swarm is not active"),
            (json!({"Scope": "x"}), 400, "invalid network scope \"x\""),
            (json!({"EnableIPv4": false}), 501, "`--ipv4=false`"),
            (json!({"IPAM": {"Driver": "dhcp"}}), 404, "plugin \"dhcp\" not found"),
            (json!({"IPAM": {"Driver": "null"}}), 501, "`--ipam-driver null`"),
            (json!({"IPAM": {"Options": {"a": "b"}}}), 501, "`--ipam-opt`"),
            (
                json!({"IPAM": {"Config": [{"Subnet": "10.0.0.0/8", "AuxiliaryAddresses": {"a": "10.0.0.5"}}]}}),
                501,
                "`--aux-address`",
            ),
        ] {
            let error = ask(body.clone()).unwrap_err();
            assert_eq!(error.status(), status, "{body}");
            assert!(error.to_string().starts_with(want), "{body}: {error}");
        }
    }
}
