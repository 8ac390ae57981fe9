//! `/etc/hosts` and `/etc/resolv.conf` of a container in networks. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::containers::spec::{ExtraHost, NetworkSpec};

/// What every container finds in `/etc/hosts`.
pub(crate) const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Where containers ask for names that we answer; Docker's address, which programs know.
pub(crate) const OWN_RESOLVER: &str = "127.0.0.11";
/// Port of the domain name system.
const DNS_PORT: u16 = 53;
/// resolv.conf(5): more name servers are ignored.
const NAME_SERVERS_MAX: usize = 3;

/// The parts of a resolv.conf(5) that containers take over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl ResolvConf {
    pub(crate) fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // An address with a zone means nothing outside this host.
                    conf.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// What a client asked for in place of the host's.
    fn overridden(&self, spec: &NetworkSpec) -> ResolvConf {
        let or = |asked: &[String], own: &[String]| {
            let asked = if asked.is_empty() { own } else { asked };
            asked.iter().filter(|word| *word != ".").cloned().collect()
        };
        ResolvConf {
            servers: if spec.dns.is_empty() { self.servers.clone() } else { spec.dns.clone() },
            search: or(&spec.dns_search, &self.search),
            options: or(&spec.dns_options, &self.options),
        }
    }

    fn text(&self) -> String {
        let mut text: String = self.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                text.push_str(&format!("{word} {}\n", values.join(" ")));
            }
        }
        text
    }
}

/// How a container's names are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// `/etc/resolv.conf`
    pub(crate) text: String,
    /// We answer, and ask these for what we do not know; none: the container asks its servers itself.
    pub(crate) upstreams: Option<Vec<SocketAddr>>,
}

/// Decides how names are found: in networks that people made we answer, because containers find each other by name there; on
/// the default network only where the host's servers cannot be reached from a container (a stub on a loopback address).
pub(crate) fn resolution(host: &ResolvConf, spec: &NetworkSpec, has_names: bool) -> Resolution {
    let mut conf = host.overridden(spec);
    let all_reachable: Vec<IpAddr> =
        conf.servers.iter().copied().filter(|server| !is_of_this_host(*server)).collect();
    if !has_names && !all_reachable.is_empty() {
        conf.servers = all_reachable;
        conf.servers.truncate(NAME_SERVERS_MAX);
        return Resolution { text: conf.text(), upstreams: None };
    }
    let upstreams = conf.servers.iter().map(|server| SocketAddr::new(*server, DNS_PORT)).collect();
    conf.servers = vec![OWN_RESOLVER.parse().expect("an address")];
    // Names without a dot are the containers' here, so they are asked for as they are first.
    if !conf.options.iter().any(|option| option.starts_with("ndots:")) {
        conf.options.push("ndots:0".into());
    }
    Resolution { text: conf.text(), upstreams: Some(upstreams) }
}

/// `/etc/hosts`: the container's own addresses by its host name, and what was asked for.
pub(crate) fn hosts(
    addresses: &[IpAddr],
    (hostname, domainname): (&str, &str),
    extra: &[ExtraHost],
    host_gateway: Option<IpAddr>,
) -> String {
    let mut text = LOCAL_HOSTS.to_owned();
    for host in extra {
        if let Some(address) = host.address.or(host_gateway) {
            text.push_str(&format!("{address}\t{}\n", host.name));
        }
    }
    let names = match domainname {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain} {hostname}"),
    };
    for address in addresses {
        text.push_str(&format!("{address}\t{names}\n"));
    }
    text
}

/// An address that means another machine, the container, when a container asks it.
fn is_of_this_host(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(servers: &str) -> ResolvConf {
        let servers: String = servers.split_whitespace().map(|one| format!("nameserver {one}\n")).collect();
        ResolvConf::parse(&format!("# made by hand\n{servers}search example.org lan\noptions edns0\n"))
    }

    #[test]
    fn containers_get_what_they_can_reach() {
        let plain = NetworkSpec::default();
        let own = NetworkSpec {
            dns: vec!["192.0.2.1".parse().unwrap()],
            dns_search: vec![".".into()],
            dns_options: vec!["ndots:2".into()],
            ..NetworkSpec::default()
        };
        let both = "search example.org lan\noptions edns0";
        for (servers, spec, has_names, text, upstreams) in [
            ("10.0.0.53 ::1 fe80::1%eth0", &plain, false, format!("nameserver 10.0.0.53\n{both}\n"), None),
            // systemd-resolved's stub, or dnsmasq: only we can ask it.
            (
                "127.0.0.53",
                &plain,
                false,
                format!("nameserver 127.0.0.11\n{both} ndots:0\n"),
                Some("127.0.0.53:53"),
            ),
            (
                "10.0.0.53",
                &plain,
                true,
                format!("nameserver 127.0.0.11\n{both} ndots:0\n"),
                Some("10.0.0.53:53"),
            ),
            ("10.0.0.53", &own, false, "nameserver 192.0.2.1\noptions ndots:2\n".into(), None),
            (
                "10.0.0.53",
                &own,
                true,
                "nameserver 127.0.0.11\noptions ndots:2\n".into(),
                Some("192.0.2.1:53"),
            ),
            ("", &plain, false, format!("nameserver 127.0.0.11\n{both} ndots:0\n"), Some("")),
        ] {
            let found = resolution(&host(servers), spec, has_names);
            let asked = found
                .upstreams
                .map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!((found.text, asked.as_deref()), (text, upstreams), "{servers} {has_names}");
        }
    }

    #[test]
    fn hosts_names_the_container_and_what_was_asked_for() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let extra = |name: &str, address: Option<IpAddr>| ExtraHost { name: name.into(), address };
        let text = hosts(
            &[address("10.0.0.2"), address("fd00::2")],
            ("web", "example.org"),
            &[extra("db", Some(address("192.0.2.9"))), extra("host.docker.internal", None)],
            Some(address("10.0.0.1")),
        );
        let own = text.strip_prefix(LOCAL_HOSTS).unwrap();
        assert_eq!(
            own,
            "192.0.2.9\tdb\n10.0.0.1\thost.docker.internal\n10.0.0.2\tweb.example.org web\nfd00::2\tweb.example.org web\n"
        );
        assert_eq!(hosts(&[], ("x", ""), &[extra("gone", None)], None), LOCAL_HOSTS);
    }
}
