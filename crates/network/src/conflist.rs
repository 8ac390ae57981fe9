//! Networks on disk: CNI conflists.
//!
//! One file for each network, by the CNI specification (<https://github.com/containernetworking/cni/blob/main/SPEC.md>, network configuration
//! lists). What CNI has no word for (id, labels, when it was made, options) are keys of ours at the top, which other
//! programs ignore; nerdctl's keys of the same meaning are read as well. The list of plugins is what the standard plugins
//! would need to set the same network up, so that such a file also serves other runtimes.
//!
//! Pure: bytes in, bytes out. Unknown keys of a foreign file are of no interest; nobody writes such a file back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};

/// A configuration is some hundred bytes; a foreign one may be long, but not longer than this.
pub const MAX_BYTES: usize = 1 << 20;
/// The version of the specification that is written.
const CNI_VERSION: &str = "1.0.0";
/// Longest name of an interface, by the kernel.
const INTERFACE_NAME_MAX: usize = 15;

/// A network, as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// 64 hex digits.
    pub id: String,
    pub name: String,
    pub created_ns: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    /// Somebody asked for a network that containers may be attached to by hand, as they may to all of ours; Docker shows it.
    pub attachable: bool,
    pub driver: Driver,
}

/// Who sets the network up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// The bridge plugin with addresses of host-local: built in.
    Bridge(Bridge),
    /// Another plugin, by its type.
    Other(String),
}

/// A network on a bridge of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Name of the bridge's interface.
    pub interface: String,
    pub subnets: Vec<Subnet>,
    /// Nothing gets in or out.
    pub internal: bool,
    /// What leaves has the host's address.
    pub masquerade: bool,
    /// Its containers reach each other.
    pub is_open_inside: bool,
    pub mtu: Option<u32>,
    /// Directory of the addresses, if it is not the usual one.
    pub data_directory: Option<String>,
}

/// A prefix whose addresses containers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub subnet: IpNet,
    /// The bridge's own address in it.
    pub gateway: IpAddr,
    /// Somebody chose the prefix and left the gateway to us; Docker does not show it then.
    pub is_gateway_ours: bool,
    /// Containers get only addresses of this part.
    pub ip_range: Option<IpNet>,
}

/// Why a file is not a network.
#[derive(Debug, thiserror::Error)]
pub enum ConflistError {
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it is not the JSON of a network configuration list")]
    Json(#[source] serde_json::Error),
    #[error("it lists no plugins")]
    NoPlugins,
    #[error("`{0}` is not a name for a network")]
    Name(String),
    #[error("`{0}` is not a name for an interface")]
    Interface(String),
    #[error("`{0}` is not a prefix, or not one with room for containers")]
    Subnet(String),
    #[error("`{0}` is not an address of its prefix")]
    Gateway(String),
}

#[derive(Deserialize)]
struct List {
    name: String,
    #[serde(default, rename = "cortenID", alias = "nerdctlID")]
    id: Option<String>,
    #[serde(default, rename = "cortenLabels", alias = "nerdctlLabels")]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "cortenOptions")]
    options: BTreeMap<String, String>,
    #[serde(default, rename = "cortenCreated")]
    created_ns: Option<i64>,
    #[serde(default, rename = "cortenAttachable")]
    attachable: bool,
    #[serde(default, rename = "cortenInternal")]
    internal: bool,
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Plugin {
    #[serde(rename = "type")]
    kind: String,
    bridge: Option<String>,
    ip_masq: bool,
    mtu: Option<u32>,
    ipam: Option<Ipam>,
    ingress_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: String,
    ranges: Vec<Vec<Range>>,
    /// host-local's old form of a single range.
    subnet: Option<String>,
    gateway: Option<String>,
    data_dir: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Range {
    subnet: String,
    gateway: Option<String>,
    range_start: Option<String>,
    range_end: Option<String>,
    /// Ours: see [`Subnet::is_gateway_ours`].
    #[serde(rename = "cortenGatewayIsOurs")]
    is_gateway_ours: bool,
    /// Docker's word, kept by nerdctl and by us beside what it means.
    #[serde(rename = "ipRange")]
    ip_range: Option<String>,
}

impl Network {
    /// Reads a conflist.
    pub fn parse(bytes: &[u8]) -> Result<Network, ConflistError> {
        if bytes.len() > MAX_BYTES {
            return Err(ConflistError::TooLarge);
        }
        let list: List = serde_json::from_slice(bytes).map_err(ConflistError::Json)?;
        check_name(&list.name)?;
        let first = list.plugins.first().ok_or(ConflistError::NoPlugins)?;
        let has_host_local = first.ipam.as_ref().is_some_and(|ipam| ipam.kind == "host-local");
        let driver = match first.kind.as_str() {
            "bridge" if has_host_local => Driver::Bridge(read_bridge(&list)?),
            other => Driver::Other(other.to_owned()),
        };
        Ok(Network {
            id: list.id.clone().unwrap_or_else(|| derived_id(&list.name)),
            name: list.name,
            created_ns: list.created_ns,
            labels: list.labels,
            options: list.options,
            attachable: list.attachable,
            driver,
        })
    }

    /// The conflist of a bridge network; nothing for others, whose files belong to somebody else.
    pub fn to_json(&self) -> Option<String> {
        let Driver::Bridge(bridge) = &self.driver else { return None };
        let mut first = json!({
            "type": "bridge", "bridge": bridge.interface, "isGateway": true, "ipMasq": bridge.masquerade, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": bridge.subnets.iter().map(range_json).collect::<Vec<_>>(),
                "routes": routes_json(bridge),
            },
        });
        if let Some(mtu) = bridge.mtu {
            first["mtu"] = mtu.into();
        }
        if let Some(directory) = &bridge.data_directory {
            first["ipam"]["dataDir"] = directory.as_str().into();
        }
        let mut plugins = vec![first];
        if !bridge.internal {
            plugins.push(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
        }
        let policy = if bridge.is_open_inside { "same-bridge" } else { "isolated" };
        plugins.push(json!({"type": "firewall", "ingressPolicy": policy}));
        let mut list = json!({
            "cniVersion": CNI_VERSION, "name": self.name, "cortenID": self.id, "cortenCreated": self.created_ns,
            "cortenLabels": self.labels, "cortenOptions": self.options, "cortenInternal": bridge.internal,
            "plugins": plugins,
        });
        if self.attachable {
            list["cortenAttachable"] = true.into();
        }
        Some(format!("{list:#}\n"))
    }

    /// The bridge, if that is what it is.
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.driver {
            Driver::Bridge(bridge) => Some(bridge),
            Driver::Other(_) => None,
        }
    }
}

impl Bridge {
    /// Whether containers get IPv6 addresses.
    pub fn is_ipv6(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.subnet.addr().is_ipv6())
    }
}

impl Subnet {
    /// A prefix with room for a gateway and a container, which is the first address unless `gateway` says otherwise.
    pub fn new(
        subnet: IpNet,
        gateway: Option<IpAddr>,
        ip_range: Option<IpNet>,
    ) -> Result<Subnet, ConflistError> {
        let host_bits = subnet.max_prefix_len() - subnet.prefix_len();
        if host_bits < 2 || subnet.trunc() != subnet || subnet.addr().is_multicast() {
            return Err(ConflistError::Subnet(subnet.to_string()));
        }
        if let Some(range) = ip_range.filter(|range| !subnet.contains(range)) {
            return Err(ConflistError::Subnet(range.to_string()));
        }
        // Docker takes the first address of the part that containers get, so that the rest stays to others.
        let first = first_host(ip_range.unwrap_or(subnet));
        let is_gateway_ours = gateway.is_none();
        let gateway = gateway.unwrap_or(first);
        let is_usable = subnet.contains(&gateway)
            && gateway != subnet.network()
            && (subnet.addr().is_ipv6() || gateway != subnet.broadcast());
        if !is_usable {
            return Err(ConflistError::Gateway(gateway.to_string()));
        }
        Ok(Subnet { subnet, gateway, is_gateway_ours, ip_range: ip_range.map(|range| range.trunc()) })
    }

    /// A prefix that was chosen together with its gateway, the first address.
    pub fn chosen(subnet: IpNet) -> Result<Subnet, ConflistError> {
        Subnet::new(subnet, Some(first_host(subnet)), None)
    }

    /// First and last address that containers may get.
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        let part = self.ip_range.unwrap_or(self.subnet);
        let (first, last) = (part.network(), part.broadcast());
        let first = if first == self.subnet.network() { next(first) } else { first };
        let is_broadcast = last == self.subnet.broadcast() && last.is_ipv4();
        (first, if is_broadcast { previous(last) } else { last })
    }
}

/// Whether something may be the name of a network (CNI's rule, which is also safe in a path).
pub fn check_name(name: &str) -> Result<(), ConflistError> {
    const MAX: usize = 255 - ".conflist".len() - "corten-".len();
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if starts_well && goes_on_well && name.len() <= MAX {
        Ok(())
    } else {
        Err(ConflistError::Name(name.chars().take(MAX).collect()))
    }
}

/// Whether something may be the name of an interface (netdevice(7); no slash, colon or space).
pub fn check_interface(name: &str) -> Result<(), ConflistError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if is_plain && !matches!(name, "" | "." | "..") && name.len() <= INTERFACE_NAME_MAX {
        Ok(())
    } else {
        Err(ConflistError::Interface(name.chars().take(64).collect()))
    }
}

/// The address after another one.
pub fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_add(1).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add(1).into()),
    }
}

fn previous(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_sub(1).into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_sub(1).into()),
    }
}

fn first_host(prefix: IpNet) -> IpAddr {
    next(prefix.network())
}

/// A network that nobody gave an id has always the same: nerdctl's rule.
fn derived_id(name: &str) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    sha2::Sha256::digest(name.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn read_bridge(list: &List) -> Result<Bridge, ConflistError> {
    let empty = Ipam::default();
    let first = &list.plugins[0];
    let ipam = first.ipam.as_ref().unwrap_or(&empty);
    // The name that the bridge plugin takes when none is given.
    let interface = first.bridge.clone().unwrap_or_else(|| "cni0".into());
    check_interface(&interface)?;
    let mut subnets: Vec<Subnet> =
        ipam.ranges.iter().filter_map(|set| set.first()).map(read_range).collect::<Result<_, _>>()?;
    if let Some(subnet) = &ipam.subnet {
        let range = Range { subnet: subnet.clone(), gateway: ipam.gateway.clone(), ..Range::default() };
        subnets.push(read_range(&range)?);
    }
    if subnets.is_empty() {
        return Err(ConflistError::Subnet(String::new()));
    }
    let policy = list.plugins.iter().find_map(|plugin| plugin.ingress_policy.as_deref());
    Ok(Bridge {
        interface,
        subnets,
        internal: list.internal,
        masquerade: first.ip_masq,
        is_open_inside: policy != Some("isolated"),
        mtu: first.mtu.filter(|mtu| *mtu > 0),
        data_directory: ipam.data_dir.clone(),
    })
}

fn read_range(range: &Range) -> Result<Subnet, ConflistError> {
    let prefix = |text: &String| text.parse::<IpNet>().map_err(|_| ConflistError::Subnet(text.clone()));
    let address = |text: &String| text.parse::<IpAddr>().map_err(|_| ConflistError::Gateway(text.clone()));
    let ip_range = match (&range.ip_range, &range.range_start, &range.range_end) {
        (Some(text), ..) => Some(prefix(text)?),
        // A start and an end that are no prefix have no place in our model; such a file is not ours to run.
        (None, Some(start), _) | (None, None, Some(start)) => {
            return Err(ConflistError::Subnet(start.clone()));
        }
        (None, None, None) => None,
    };
    let gateway = range.gateway.as_ref().map(address).transpose()?;
    let subnet = Subnet::new(prefix(&range.subnet)?, gateway, ip_range)?;
    Ok(Subnet { is_gateway_ours: range.is_gateway_ours, ..subnet })
}

fn range_json(subnet: &Subnet) -> Value {
    let mut range = json!({"subnet": subnet.subnet, "gateway": subnet.gateway});
    if subnet.is_gateway_ours {
        range["cortenGatewayIsOurs"] = true.into();
    }
    if let Some(part) = subnet.ip_range {
        let (start, end) = subnet.bounds();
        range["ipRange"] = json!(part);
        range["rangeStart"] = json!(start);
        range["rangeEnd"] = json!(end);
    }
    json!([range])
}

fn routes_json(bridge: &Bridge) -> Vec<Value> {
    if bridge.internal {
        return Vec::new();
    }
    let v4 = bridge.subnets.iter().any(|subnet| subnet.subnet.addr().is_ipv4());
    let both = [(v4, "0.0.0.0/0"), (bridge.is_ipv6(), "::/0")];
    both.iter().filter(|(is_there, _)| *is_there).map(|(_, route)| json!({"dst": route})).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::new(text.parse().unwrap(), None, None).unwrap()
    }

    fn network() -> Network {
        Network {
            id: "ab".repeat(32),
            name: "mine".into(),
            created_ns: Some(7),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            options: BTreeMap::from([("com.docker.network.driver.mtu".into(), "1400".into())]),
            attachable: true,
            driver: Driver::Bridge(Bridge {
                interface: "br-abababababab".into(),
                subnets: vec![subnet("10.1.0.0/16"), subnet("fd00:1::/64")],
                internal: false,
                masquerade: true,
                is_open_inside: true,
                mtu: Some(1400),
                data_directory: Some("/x".into()),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut network = network();
        assert_eq!(Network::parse(network.to_json().unwrap().as_bytes()).unwrap(), network);
        let Driver::Bridge(bridge) = &mut network.driver else { unreachable!() };
        (bridge.internal, bridge.is_open_inside, bridge.mtu, bridge.data_directory) =
            (true, false, None, None);
        let (range, gateway) = ("10.1.2.0/24".parse().unwrap(), "10.1.0.9".parse().unwrap());
        bridge.subnets[0] = Subnet::new("10.1.0.0/16".parse().unwrap(), Some(gateway), Some(range)).unwrap();
        let text = network.to_json().unwrap();
        assert!(text.contains("\"rangeStart\": \"10.1.2.0\"") && !text.contains("portmap"), "{text}");
        assert_eq!(Network::parse(text.as_bytes()).unwrap(), network);
    }

    #[test]
    fn nerdctl_s_networks_are_networks() {
        let text = r#"{"cniVersion": "1.0.0", "name": "bridge", "nerdctlID": "17f2", "nerdctlLabels": {"nerdctl/default-network": "true"},
            "plugins": [{"type": "bridge", "bridge": "nerdctl0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {"ranges": [[{"gateway": "10.4.0.1", "subnet": "10.4.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "type": "host-local"}},
            {"type": "portmap", "capabilities": {"portMappings": true}}, {"type": "firewall", "ingressPolicy": "same-bridge"}, {"type": "tuning"}]}"#;
        let network = Network::parse(text.as_bytes()).unwrap();
        assert_eq!((network.id.as_str(), network.labels.len()), ("17f2", 1));
        let bridge = network.bridge().unwrap();
        assert_eq!(
            (bridge.interface.as_str(), bridge.subnets[0].gateway),
            ("nerdctl0", "10.4.0.1".parse().unwrap())
        );
        assert!(bridge.masquerade && bridge.is_open_inside && !bridge.internal);
    }

    #[test]
    fn the_network_of_another_plugin_is_listed_and_not_ours() {
        let text =
            r#"{"name": "cbr0", "plugins": [{"type": "flannel", "delegate": {}}, {"type": "portmap"}]}"#;
        let network = Network::parse(text.as_bytes()).unwrap();
        assert_eq!(network.driver, Driver::Other("flannel".into()));
        assert_eq!((network.id.len(), network.to_json()), (64, None));
        // Addresses by DHCP are somebody else's affair too.
        let text = r#"{"name": "x", "plugins": [{"type": "bridge", "ipam": {"type": "dhcp"}}]}"#;
        assert_eq!(Network::parse(text.as_bytes()).unwrap().bridge(), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let bridge = |rest: &str| {
            format!(
                r#"{{"name": "x", "plugins": [{{"type": "bridge", "ipam": {{"type": "host-local"{rest}}}}}]}}"#
            )
        };
        for (text, expected) in [
            ("{".into(), "not the JSON"),
            (r#"{"name": "x"}"#.into(), "no plugins"),
            (r#"{"name": "../x", "plugins": [{"type": "a"}]}"#.into(), "`../x`"),
            (bridge(""), "not a prefix"),
            (bridge(r#", "subnet": "10.0.0.1/24""#), "`10.0.0.1/24`"),
            (bridge(r#", "subnet": "10.0.0.0/31""#), "`10.0.0.0/31`"),
            (bridge(r#", "subnet": "10.0.0.0/24", "gateway": "10.0.1.1""#), "`10.0.1.1`"),
            (bridge(r#", "subnet": "10.0.0.0/24", "gateway": "10.0.0.255""#), "`10.0.0.255`"),
            (bridge(r#", "ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.5"}]]"#), "`10.0.0.5`"),
            (
                bridge(r#", "ranges": [[{"subnet": "10.0.0.0/24", "ipRange": "10.0.1.0/25"}]]"#),
                "`10.0.1.0/25`",
            ),
        ] {
            let error = Network::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(check_interface("abcdefghijklmnop").is_err() && check_interface("a b").is_err());
    }

    #[test]
    fn containers_get_neither_the_first_nor_the_last_address() {
        let bounds = |text: &str| {
            let (first, last) = subnet(text).bounds();
            format!("{first} {last}")
        };
        assert_eq!(bounds("10.0.0.0/29"), "10.0.0.1 10.0.0.6");
        assert_eq!(bounds("fd00::/126"), "fd00::1 fd00::3");
        let part = Subnet::new("10.0.0.0/24".parse().unwrap(), None, Some("10.0.0.64/26".parse().unwrap()));
        let part = part.unwrap();
        assert_eq!(format!("{:?} {}", part.bounds(), part.gateway), "(10.0.0.64, 10.0.0.127) 10.0.0.65");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            drop(Network::parse(text.as_bytes()));
        }
    }
}
