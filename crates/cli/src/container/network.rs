//! The flags about networks of `run` and `create`: which ones, with which addresses and names, and what is published.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::docker::Present;
use api::docker::container::{Config, PortMap};
use api::docker::host_config::HostConfig;
use api::docker::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};
use clap::Arg;

use super::{mounts, publish};
use crate::error::Error;
use crate::flags::{Given, list, switch, value};

/// The network of a container whose user asks for none.
const DEFAULT: &str = "default";

/// The flags.
pub(super) fn flags() -> Vec<Arg> {
    vec![
        list("add-host", "list", "Add a custom host-to-IP mapping (host:ip)"),
        list("dns", "list", "Set custom DNS servers"),
        list("dns-option", "list", "Set DNS options").alias("dns-opt"),
        list("dns-search", "list", "Set custom DNS search domains"),
        list("expose", "list", "Expose a port or a range of ports"),
        value("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
        value("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
        list("link", "list", "Add link to another container"),
        list("link-local-ip", "list", "Container IPv4/IPv6 link-local addresses"),
        list("network", "network", "Connect a container to a network").alias("net"),
        value("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
        list("network-alias", "list", "Add network-scoped alias for the container").alias("net-alias"),
        list("publish", "list", "Publish a container's port(s) to the host").short('p'),
        switch("publish-all", "Publish all exposed ports to random ports").short('P'),
    ]
}

/// One `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Attachment {
    network: String,
    aliases: Vec<String>,
    ipv4: String,
    ipv6: String,
    mac: String,
    links: Vec<String>,
    link_local: Vec<String>,
}

/// Puts what the flags say into the three places where Docker has it; the last of them is returned.
pub(super) fn apply(
    given: &Given,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<Option<NetworkingConfig>, Error> {
    ports(given, config, host)?;
    let some = |texts: Vec<String>| (!texts.is_empty()).then_some(texts);
    host.dns = some(given.parsed_list("dns", name_server)?);
    host.dns_search = some(given.parsed_list("dns-search", search_domain)?);
    host.dns_options = some(given.list("dns-option").into_iter().map(str::to_owned).collect());
    host.extra_hosts = some(given.parsed_list("add-host", extra_host)?);
    host.links = some(given.parsed_list("link", link)?);
    let mut attachments = given.parsed_list("network", attachment)?;
    if attachments.is_empty() {
        attachments.push(Attachment { network: DEFAULT.into(), ..Attachment::default() });
    }
    add_to_first(given, &mut attachments[0])?;
    host.network_mode.clone_from(&attachments[0].network);
    check(&attachments)?;
    Ok(endpoints(attachments))
}

fn ports(given: &Given, config: &mut Config, host: &mut HostConfig) -> Result<(), Error> {
    let (mut exposed, mut published) = (BTreeMap::new(), PortMap::new());
    for text in given.list("publish") {
        for (port, binding) in publish::publish(text).map_err(Error::Value)? {
            exposed.insert(port.clone(), Present);
            published.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    for text in given.list("expose") {
        exposed.extend(publish::expose(text).map_err(Error::Value)?.into_iter().map(|port| (port, Present)));
    }
    config.exposed_ports = (!exposed.is_empty()).then_some(exposed);
    host.port_bindings = (!published.is_empty()).then_some(published);
    host.publish_all_ports = given.switch("publish-all");
    Ok(())
}

/// `--network-alias`, `--ip`, `--ip6` and `--mac-address` are about the first network.
fn add_to_first(given: &Given, first: &mut Attachment) -> Result<(), Error> {
    let aliases = given.list("network-alias");
    let text = |flag| given.text(flag).unwrap_or_default();
    let conflicts = [
        (
            !aliases.is_empty() && !first.aliases.is_empty(),
            "cannot specify both --network-alias and per-network alias",
        ),
        (
            !text("ip").is_empty() && !first.ipv4.is_empty(),
            "cannot specify both --ip and per-network IPv4 address",
        ),
        (
            !text("ip6").is_empty() && !first.ipv6.is_empty(),
            "cannot specify both --ip6 and per-network IPv6 address",
        ),
        (
            !text("mac-address").is_empty() && !first.mac.is_empty(),
            "cannot specify both --mac-address and per-network MAC address",
        ),
    ];
    if let Some((_, complaint)) = conflicts.iter().find(|(is_so, _)| *is_so) {
        return Err(Error::Conflict(complaint));
    }
    first.links = given.parsed_list("link", link)?;
    let addresses = given.list("link-local-ip");
    if !addresses.is_empty() && !first.link_local.is_empty() {
        return Err(Error::Conflict(
            "cannot specify both --link-local-ip and per-network link-local IP addresses",
        ));
    }
    first.link_local.extend(addresses.into_iter().map(str::to_owned));
    first.aliases.extend(aliases.into_iter().map(str::to_owned));
    first.ipv4 += text("ip");
    first.ipv6 += text("ip6");
    first.mac += text("mac-address");
    if !first.mac.is_empty() && !is_mac(&first.mac) {
        return Err(Error::Value(format!("{} is not a valid mac address", first.mac)));
    }
    Ok(())
}

fn check(attachments: &[Attachment]) -> Result<(), Error> {
    for (index, one) in attachments.iter().enumerate() {
        let Attachment { network, aliases, .. } = one;
        if network == "container:" {
            return Err(Error::Value("--network: invalid container format container:<name|id>".into()));
        }
        if !aliases.is_empty() && !is_user_defined(network) {
            return Err(Error::Value(
                "network-scoped aliases are only supported for user-defined networks".into(),
            ));
        }
        if attachments[..index].iter().any(|other| other.network == *network) {
            return Err(Error::Value(format!("network {network:?} is specified multiple times")));
        }
    }
    match attachments
        .iter()
        .all(|one| is_user_defined(&one.network) == is_user_defined(&attachments[0].network))
    {
        true => Ok(()),
        false => Err(Error::Conflict("cannot attach both user-defined and non-user-defined network-modes")),
    }
}

fn is_user_defined(network: &str) -> bool {
    !matches!(network, DEFAULT | "bridge" | "host" | "none") && !network.starts_with("container:")
}

/// A single network about which nothing more is said is named by the mode alone.
fn endpoints(attachments: Vec<Attachment>) -> Option<NetworkingConfig> {
    let is_single = attachments.len() == 1;
    let settings = attachments.into_iter().map(|one| {
        let ipam = ipam(one.ipv4, one.ipv6, one.link_local);
        let settings = EndpointSettings {
            mac_address: one.mac,
            links: (!one.links.is_empty()).then_some(one.links),
            ..settings(one.aliases, ipam)
        };
        (one.network, settings)
    });
    let endpoints: BTreeMap<_, _> = settings
        .filter(|(_, settings)| !is_single || *settings != EndpointSettings::default())
        .map(|(network, settings)| (network, Some(settings)))
        .collect();
    (!endpoints.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

/// What is asked of a container's place in one network.
pub(crate) fn settings(aliases: Vec<String>, ipam: EndpointIpamConfig) -> EndpointSettings {
    EndpointSettings {
        aliases: (!aliases.is_empty()).then_some(aliases),
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        ..EndpointSettings::default()
    }
}

/// The addresses that are asked for.
pub(crate) fn ipam(ipv4: String, ipv6: String, link_local: Vec<String>) -> EndpointIpamConfig {
    let link_local_ips = (!link_local.is_empty()).then_some(link_local);
    EndpointIpamConfig { ipv4_address: ipv4, ipv6_address: ipv6, link_local_ips }
}

/// `CONTAINER[:ALIAS]`.
pub(crate) fn link(text: &str) -> Result<String, String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".into()),
        1 | 2 => Ok(text.to_owned()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// Reads `NAME`, or `name=NAME[,alias=ALIAS][,ip=ADDRESS][,ip6=ADDRESS]`.
fn attachment(text: &str) -> Result<Attachment, String> {
    let mut attachment = Attachment::default();
    if text.contains('=') {
        for field in mounts::fields(text)? {
            let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
            let value = value.trim().to_owned();
            match key.trim().to_lowercase().as_str() {
                "name" => attachment.network = value,
                "alias" => attachment.aliases.push(value),
                "ip" => attachment.ipv4 = value,
                "ip6" => attachment.ipv6 = value,
                "mac-address" if is_mac(&value) => attachment.mac = value,
                "mac-address" => return Err(format!("{value} is not a valid mac address")),
                "link-local-ip" => attachment.link_local.push(value),
                key @ ("driver-opt" | "gw-priority") => {
                    return Err(format!("the field {key} is not there yet"));
                }
                key => return Err(format!("invalid field key {key}")),
            }
        }
    } else {
        text.clone_into(&mut attachment.network);
    }
    match attachment.network.is_empty() {
        true => Err("network name/id is not specified".into()),
        false => Ok(attachment),
    }
}

/// Six bytes in hexadecimal digits.
fn is_mac(text: &str) -> bool {
    let is_byte = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.split([':', '-']).count() == 6 && text.split([':', '-']).all(is_byte)
}

fn name_server(text: &str) -> Result<String, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// A domain, or a point: none.
fn search_domain(text: &str) -> Result<String, String> {
    let domain = text.trim_matches(' ');
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_domain = domain.bytes().any(|byte| byte.is_ascii_alphabetic())
        && domain.strip_suffix('.').unwrap_or(domain).split('.').all(is_label);
    match domain == "." || is_domain {
        true => Ok(domain.to_owned()),
        false => Err(format!("{text} is not a valid domain")),
    }
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`, the address perhaps in brackets or `host-gateway`; the daemon takes the first form.
fn extra_host(text: &str) -> Result<String, String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    let bare = address.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(address);
    match bare == "host-gateway" || bare.parse::<IpAddr>().is_ok() {
        true => Ok(format!("{name}:{bare}")),
        false => Err(format!("invalid IP address in add-host: {bare:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, HostConfig, apply, flags};
    use crate::error::Error;
    use crate::flags::{Given, Operands, Usage, parser};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::ffi::OsString;

    fn read(words: &[&str]) -> Result<(Value, Value, Value), Error> {
        let operands = Operands::command_line(1);
        let usage = Usage { path: "corten create".into(), synopsis: "" };
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let given = Given::parse(usage, parser("create", operands, flags()), &[], &words)?;
        let (mut config, mut host) = (Config::default(), HostConfig::default());
        let networking = apply(&given, &mut config, &mut host)?;
        let json = |value| serde_json::to_value(value).unwrap();
        let networking = networking.map(|one| json(one.endpoints_config.unwrap())).unwrap_or_default();
        Ok((serde_json::to_value(config).unwrap(), serde_json::to_value(host).unwrap(), networking))
    }

    #[test]
    fn networks_are_named_as_docker_names_them() {
        let cases: [(&[&str], &str, Value); 10] = [
            (&[], "default", json!({})),
            (&["--network", "host"], "host", json!({})),
            (&["--net", "container:a"], "container:a", json!({})),
            (&["--network", "mine"], "mine", json!({})),
            (&["--network", "name=mine"], "mine", json!({})),
            (
                &["--network", "mine", "--network-alias", "a", "--net-alias=b"],
                "mine",
                json!({"mine": [["a", "b"], "", ""]}),
            ),
            (&["--network", "mine", "--ip", "10.0.0.9"], "mine", json!({"mine": [null, "10.0.0.9", ""]})),
            (&["--ip6", "fd00::9"], "default", json!({"default": [null, "", "fd00::9"]})),
            (
                &["--network", "name=b,alias=x,alias=y,ip=10.0.0.9", "--network", "a", "--ip6", "fd00::9"],
                "b",
                json!({"b": [["x", "y"], "10.0.0.9", "fd00::9"], "a": [null, "", ""]}),
            ),
            (&["--network", "\"name=a,b\",ip6=::1"], "a,b", json!({"a,b": [null, "", "::1"]})),
        ];
        for (words, mode, want) in cases {
            let words: Vec<&str> = words.iter().copied().chain(["x"]).collect();
            let (_, host, networking) = read(&words).unwrap();
            let shown: Value = networking
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, settings)| {
                    let text = |field| settings["IPAMConfig"][field].as_str().unwrap_or_default();
                    (name.clone(), json!([settings["Aliases"], text("IPv4Address"), text("IPv6Address")]))
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
            assert_eq!((&host["NetworkMode"], shown), (&json!(mode), want), "{words:?}");
        }
    }

    #[test]
    fn links_and_link_local_addresses_arrive() {
        let (_, host, networking) =
            read(&["--net", "name=a,link-local-ip=fe80::9", "--link", "db", "--link", "db:base", "x"])
                .unwrap();
        assert_eq!((&host["Links"], &networking["a"]["Links"]), (&json!(["db", "db:base"]), &host["Links"]));
        assert_eq!(networking["a"]["IPAMConfig"]["LinkLocalIPs"], json!(["fe80::9"]));
        let (.., networking) =
            read(&["--link-local-ip", "169.254.1.1", "--link-local-ip=fe80::1", "x"]).unwrap();
        assert_eq!(networking["default"]["IPAMConfig"]["LinkLocalIPs"], json!(["169.254.1.1", "fe80::1"]));
    }

    #[test]
    fn ports_and_names_arrive() {
        let (config, host, _) = read(&[
            "-p",
            "8080:80",
            "-p",
            "127.0.0.1::80",
            "--expose",
            "90-91/udp",
            "-P",
            "--dns",
            "1.1.1.1",
            "--dns-search",
            ".",
            "--dns-opt",
            "ndots:1",
            "--add-host",
            "a=[::1]",
            "--add-host",
            "b:host-gateway",
            "x",
        ])
        .unwrap();
        assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "90/udp": {}, "91/udp": {}}));
        let bindings = json!([{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}]);
        assert_eq!(host["PortBindings"], json!({"80/tcp": bindings}));
        assert_eq!(host["PublishAllPorts"], true);
        assert_eq!(host["Dns"], json!(["1.1.1.1"]));
        assert_eq!((&host["DnsSearch"], &host["DnsOptions"]), (&json!(["."]), &json!(["ndots:1"])));
        assert_eq!(host["ExtraHosts"], json!(["a:::1", "b:host-gateway"]));
    }

    #[test]
    fn mistakes_have_dockers_words() {
        let flag = |flag: &str, text: &str, reason: &str| {
            format!("invalid argument \"{text}\" for \"--{flag}\" flag: {reason}")
        };
        let cases: [(&[&str], String); 21] = [
            (&["--link", "a:b:c"], flag("link", "a:b:c", "bad format for links: a:b:c")),
            (&["--link", ""], flag("link", "", "empty string specified for links")),
            (
                &["--network", "name=a,link-local-ip=::1", "--link-local-ip", "::2"],
                "conflicting options: cannot specify both --link-local-ip and per-network link-local IP addresses"
                    .into(),
            ),
            (&["-p", "1:x"], "invalid containerPort: x".into()),
            (&["--expose", "a:b"], "invalid port format for --expose: a:b".into()),
            (&["--add-host", "foo"], flag("add-host", "foo", "bad format for add-host: \"foo\"")),
            (
                &["--add-host", ":1.1.1.1"],
                flag("add-host", ":1.1.1.1", "bad format for add-host: \":1.1.1.1\""),
            ),
            (
                &["--add-host", "foo:bar"],
                flag("add-host", "foo:bar", "invalid IP address in add-host: \"bar\""),
            ),
            (&["--dns", "foo"], flag("dns", "foo", "IP address is not correctly formatted: foo")),
            (&["--dns-search", "/"], flag("dns-search", "/", "/ is not a valid domain")),
            (&["--dns-search", "1.2"], flag("dns-search", "1.2", "1.2 is not a valid domain")),
            (&["--network", "name=a,foo=b"], flag("network", "name=a,foo=b", "invalid field key foo")),
            (&["--network", "alias=b"], flag("network", "alias=b", "network name/id is not specified")),
            (
                &["--network", "name=a,mac-address=b"],
                flag("network", "name=a,mac-address=b", "b is not a valid mac address"),
            ),
            (&["--network", ""], flag("network", "", "network name/id is not specified")),
            (&["--network", "container:"], "--network: invalid container format container:<name|id>".into()),
            (&["--network", "a", "--network", "a"], "network \"a\" is specified multiple times".into()),
            (
                &["--network", "a", "--network", "host"],
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                    .into(),
            ),
            (
                &["--network-alias", "a"],
                "network-scoped aliases are only supported for user-defined networks".into(),
            ),
            (
                &["--network", "name=a,alias=b", "--network-alias", "c"],
                "conflicting options: cannot specify both --network-alias and per-network alias".into(),
            ),
            (
                &["--network", "name=a,ip=1.2.3.4", "--ip", "1.2.3.5"],
                "conflicting options: cannot specify both --ip and per-network IPv4 address".into(),
            ),
        ];
        for (words, want) in cases {
            let words: Vec<&str> = words.iter().copied().chain(["x"]).collect();
            assert_eq!(read(&words).unwrap_err().line(), want, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_grammars(text in "\\PC*") {
            let _ = super::attachment(&text);
            let _ = super::extra_host(&text);
            let _ = super::search_domain(&text);
        }
    }
}
