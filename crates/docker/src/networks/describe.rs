//! A network as Docker shows it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::docker::network::{EndpointResource, Ipam, IpamConfig, Network as Shown};
use engine::networks::{Member, Network, Subnet};

use super::SCOPE;
use crate::time;

/// With the containers that run in it.
pub(crate) fn whole(network: &Network) -> Shown {
    let containers = network.members.iter().map(|member| (member.container.clone(), describe_member(member)));
    Shown { containers: containers.collect(), ..without_members(network) }
}

/// As a list has it.
pub(crate) fn without_members(network: &Network) -> Shown {
    Shown {
        name: network.name.clone(),
        id: network.id.clone(),
        created: time::rfc3339(network.created_ns),
        scope: SCOPE.into(),
        driver: network.driver.clone(),
        enable_ipv4: true,
        enable_ipv6: network.ipv6,
        ipam: Ipam {
            driver: "default".into(),
            options: None,
            config: Some(network.subnets.iter().map(describe_subnet).collect()),
        },
        internal: network.internal,
        attachable: network.attachable,
        options: network.options.clone(),
        labels: network.labels.clone(),
        containers: BTreeMap::new(),
        ..Shown::default()
    }
}

fn describe_subnet(subnet: &Subnet) -> IpamConfig {
    IpamConfig {
        subnet: subnet.subnet.to_string(),
        ip_range: subnet.ip_range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: subnet.gateway.as_ref().map(IpAddr::to_string).unwrap_or_default(),
        auxiliary_addresses: None,
    }
}

fn describe_member(member: &Member) -> EndpointResource {
    let address = |is_ipv6| {
        let mut addresses = member.endpoint.addresses.iter();
        let found = addresses.find(|net| net.addr().is_ipv6() == is_ipv6);
        found.map(ToString::to_string).unwrap_or_default()
    };
    EndpointResource {
        name: member.name.clone(),
        endpoint_id: member.endpoint.id.clone(),
        mac_address: member.endpoint.mac.clone(),
        ipv4_address: address(false),
        ipv6_address: address(true),
    }
}

#[cfg(test)]
mod tests {
    use engine::networks::{Endpoint, Member, Network, Subnet};
    use serde_json::json;

    use super::{whole, without_members};

    #[test]
    fn a_network_is_shown_as_docker_shows_it() {
        let endpoint = Endpoint {
            id: "e1".into(),
            network_id: "n1".into(),
            network: "mine".into(),
            interface: "eth0".into(),
            host_interface: "veth1".into(),
            mac: "02:42:0a:01:00:02".into(),
            addresses: vec!["10.1.0.2/24".parse().unwrap()],
            gateways: vec!["10.1.0.1".parse().unwrap()],
            names: vec![],
        };
        let network = Network {
            id: "n1".into(),
            name: "mine".into(),
            driver: "bridge".into(),
            created_ns: Some(0),
            internal: true,
            attachable: false,
            ipv6: false,
            subnets: vec![Subnet {
                subnet: "10.1.0.0/24".parse().unwrap(),
                gateway: Some("10.1.0.1".parse().unwrap()),
                ip_range: Some("10.1.0.128/25".parse().unwrap()),
            }],
            options: [("a".to_owned(), "b".to_owned())].into(),
            labels: [("c".to_owned(), "d".to_owned())].into(),
            members: vec![Member { container: "c1".into(), name: "web".into(), endpoint }],
            is_builtin: false,
        };
        let mut want = json!({
            "Name": "mine", "Id": "n1", "Created": "1970-01-01T00:00:00Z", "Scope": "local", "Driver": "bridge",
            "EnableIPv4": true, "EnableIPv6": false,
            "IPAM": {"Driver": "default", "Options": null,
                "Config": [{"Subnet": "10.1.0.0/24", "IPRange": "10.1.0.128/25", "Gateway": "10.1.0.1"}]},
            "Internal": true, "Attachable": false, "Ingress": false, "ConfigFrom": {"Network": ""}, "ConfigOnly": false,
            "Containers": {}, "Options": {"a": "b"}, "Labels": {"c": "d"},
        });
        assert_eq!(serde_json::to_value(without_members(&network)).unwrap(), want);
        want["Containers"] = json!({"c1": {"Name": "web", "EndpointID": "e1", "MacAddress": "02:42:0a:01:00:02",
            "IPv4Address": "10.1.0.2/24", "IPv6Address": ""}});
        assert_eq!(serde_json::to_value(whole(&network)).unwrap(), want);
    }
}
