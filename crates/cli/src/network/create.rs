//! `network create`: makes a network and prints its id.

use std::net::IpAddr;

use api::docker::network::{Ipam, IpamConfig, NetworkCreateBody, NetworkCreateResponse};
use ipnet::IpNet;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::environment;
use crate::error::Error;
use crate::flags::{Given, Operands, list, switch, value};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NETWORK",
    about: "Create a network",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            switch("attachable", "Enable manual container attachment"),
            value("driver", "string", "Driver to manage the Network (default \"bridge\")").short('d'),
            list("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
            switch("internal", "Restrict external access to the network"),
            list("ip-range", "strings", "Allocate container ip from a sub-range"),
            switch("ipv6", "Enable or disable IPv6 address assignment"),
            list("label", "list", "Set metadata on a network"),
            list("opt", "map", "Set driver specific options").short('o'),
            list("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
        ]
    },
    refused: &[
        ("aux-address", None),
        ("config-from", None),
        ("config-only", None),
        ("ingress", None),
        ("ipam-driver", None),
        ("ipam-opt", None),
        ("ipv4", None),
        ("scope", None),
    ],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let body = body(given)?;
    let created: NetworkCreateResponse =
        cli.with_client(async |client| client.post_json(Path::new("/networks/create"), &body).await)?;
    if !created.warning.is_empty() {
        output::complain(&format!("WARNING: {}", created.warning));
    }
    output::print_line(&created.id).map(|()| 0)
}

fn body(given: &Given) -> Result<NetworkCreateBody, Error> {
    let config = prefixes(&texts(given, "subnet"), &texts(given, "ip-range"), &texts(given, "gateway"))
        .map_err(Error::Value)?;
    Ok(NetworkCreateBody {
        name: given.operand().to_owned(),
        // Daemons of old make a second network of a name where this is not said.
        check_duplicate: true,
        driver: given.text("driver").unwrap_or("bridge").to_owned(),
        enable_ipv6: given.text("ipv6").map(|_| given.switch("ipv6")),
        ipam: Some(Ipam { driver: "default".into(), options: None, config: Some(config) }),
        internal: given.switch("internal"),
        attachable: given.switch("attachable"),
        options: Some(environment::map(given, "opt")?),
        labels: Some(environment::map(given, "label")?),
        ..NetworkCreateBody::default()
    })
}

/// The values of a flag, which may also be separated by commas.
fn texts<'a>(given: &'a Given, flag: &str) -> Vec<&'a str> {
    given.list(flag).into_iter().flat_map(|text| text.split(',')).collect()
}

/// Finds the subnet of every range and gateway.
fn prefixes(subnets: &[&str], ranges: &[&str], gateways: &[&str]) -> Result<Vec<IpamConfig>, String> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".into());
    }
    let mut configs: Vec<IpamConfig> = Vec::new();
    for subnet in subnets {
        let overlaps =
            |other: &IpamConfig| contains(subnet, &other.subnet) || contains(&other.subnet, subnet);
        if configs.iter().any(overlaps) {
            return Err("multiple overlapping subnet configuration is not supported".into());
        }
        configs.push(IpamConfig { subnet: (*subnet).to_owned(), ..IpamConfig::default() });
    }
    for range in ranges {
        range.parse::<IpNet>().map_err(|_| format!("invalid CIDR address: {range}"))?;
        let config = configs.iter_mut().find(|config| contains(&config.subnet, range));
        let config = config.ok_or_else(|| format!("no matching subnet for range {range}"))?;
        let IpamConfig { subnet, ip_range, .. } = config;
        if !ip_range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges ({range}, {ip_range}) on the same subnet ({subnet})"
            ));
        }
        (*range).clone_into(ip_range);
    }
    for address in gateways {
        let config = configs.iter_mut().find(|config| contains(&config.subnet, address));
        let config = config.ok_or_else(|| format!("no matching subnet for gateway {address}"))?;
        let IpamConfig { subnet, gateway, .. } = config;
        if !gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways ({address}, {gateway}) for the same subnet ({subnet})"
            ));
        }
        (*address).clone_into(gateway);
    }
    Ok(configs)
}

/// Whether the prefix has the address, or that of the other prefix; what is wrong in them the daemon says.
fn contains(subnet: &str, text: &str) -> bool {
    let address = text.split('/').next().unwrap_or_default().parse::<IpAddr>();
    match (subnet.parse::<IpNet>(), address) {
        (Ok(subnet), Ok(address)) => subnet.contains(&address),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMAND, body, prefixes};
    use crate::flags::{Given, Usage, parser};
    use serde_json::json;
    use std::ffi::OsString;

    #[test]
    fn ranges_and_gateways_find_their_subnets() {
        let subnets = ["10.1.0.0/16", "fd00::/64"];
        let found = prefixes(&subnets, &["10.1.5.0/24"], &["fd00::1", "10.1.0.9"]).unwrap();
        assert_eq!(
            serde_json::to_value(found).unwrap(),
            json!([
                {"Subnet": "10.1.0.0/16", "IPRange": "10.1.5.0/24", "Gateway": "10.1.0.9"},
                {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
            ])
        );
        type Words = &'static [&'static str];
        let cases: [(Words, Words, Words, &str); 8] = [
            (&[], &[], &["1.2.3.4"], "every ip-range or gateway must have a corresponding subnet"),
            (&[], &["1.2.3.0/24"], &[], "every ip-range or gateway must have a corresponding subnet"),
            (
                &["10.0.0.0/8", "10.1.0.0/16"],
                &[],
                &[],
                "multiple overlapping subnet configuration is not supported",
            ),
            (&["10.0.0.0/8"], &[], &["1.2.3.4"], "no matching subnet for gateway 1.2.3.4"),
            (&["10.0.0.0/8"], &[], &["1"], "no matching subnet for gateway 1"),
            (&["10.0.0.0/8"], &["x"], &[], "invalid CIDR address: x"),
            (&["10.0.0.0/8"], &["11.0.0.0/8"], &[], "no matching subnet for range 11.0.0.0/8"),
            (
                &["10.0.0.0/8", "11.0.0.0/8"],
                &[],
                &["10.0.0.1", "10.0.0.2"],
                "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/8)",
            ),
        ];
        for (subnets, ranges, gateways, want) in cases {
            assert_eq!(prefixes(subnets, ranges, gateways).unwrap_err(), want);
        }
    }

    #[test]
    fn flags_become_the_fields_that_docker_sends() {
        let words: Vec<OsString> = [
            "--internal",
            "--ipv6",
            "--subnet",
            "10.1.0.0/16,fd00::/64",
            "--label",
            "a=b",
            "-o",
            "c=d",
            "mine",
        ]
        .iter()
        .map(OsString::from)
        .collect();
        let usage = Usage { path: String::new(), synopsis: "" };
        let parser = parser("create", COMMAND.operands, (COMMAND.flags)());
        let body = body(&Given::parse(usage, parser, &[], &words).unwrap()).unwrap();
        let want = json!({
            "Name": "mine", "CheckDuplicate": true, "Driver": "bridge", "EnableIPv6": true, "Internal": true, "Attachable": false,
            "Ingress": false, "ConfigOnly": false, "Options": {"c": "d"}, "Labels": {"a": "b"},
            "IPAM": {"Driver": "default", "Options": null, "Config": [{"Subnet": "10.1.0.0/16"}, {"Subnet": "fd00::/64"}]},
        });
        assert_eq!(serde_json::to_value(body).unwrap(), want);
    }
}
