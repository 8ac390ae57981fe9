//! Making networks: from a request to a conflist.

use std::collections::BTreeMap;

use network::conflist::{self, Bridge, Driver, Network, Subnet};

use super::NetworkRequest;
use super::fabric::{DEFAULT_NETWORK, Fabric};
use super::subnets;
use crate::clock;
use crate::error::{Error, Result, chain};

/// Names that mean something else where a network is named.
const RESERVED: [&str; 5] = ["bridge", "container", "default", "host", "none"];
/// Digits of the id in the name of a bridge.
const INTERFACE_ID: usize = 12;

/// Docker's options of bridge networks, and its short form of one.
const NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const INSIDE: &str = "com.docker.network.bridge.enable_icc";
const MTU: [&str; 2] = ["com.docker.network.driver.mtu", "mtu"];

impl Fabric {
    /// Makes a network; its bridge comes with its first container.
    pub(super) fn create(&self, request: NetworkRequest) -> Result<Network> {
        let invalid = |error: conflist::ConflistError| Error::InvalidArgument(chain(&error));
        if request.name.is_empty() {
            return Err(Error::InvalidArgument("invalid name: name is empty".into()));
        }
        conflist::check_name(&request.name).map_err(invalid)?;
        if RESERVED.contains(&request.name.as_str()) {
            return Err(Error::Forbidden(format!(
                "operation is not permitted on predefined {} network",
                request.name
            )));
        }
        if !matches!(request.driver.as_str(), "" | "bridge") {
            return Err(Error::Unsupported(format!(
                "networks with the driver `{}` are not there yet: use `bridge`",
                request.driver
            )));
        }
        if self.book.get(&request.name)?.is_some() {
            return Err(Error::NetworkExists(request.name));
        }
        let id = crate::random::hex::<32>();
        let bridge = self.bridge(&request, &id)?;
        let network = Network {
            id,
            name: request.name,
            created_ns: Some(clock::now_ns()),
            labels: request.labels,
            options: request.options,
            attachable: request.attachable,
            driver: Driver::Bridge(bridge),
        };
        self.book.put(&network)?;
        Ok(network)
    }

    fn bridge(&self, request: &NetworkRequest, id: &str) -> Result<Bridge> {
        let options = Options(&request.options);
        options.check()?;
        let interface = options.text(NAME).unwrap_or_else(|| format!("br-{}", &id[..INTERFACE_ID]));
        conflist::check_interface(&interface).map_err(|error| Error::InvalidArgument(chain(&error)))?;
        let has_interface =
            |network: &Network| network.bridge().is_some_and(|one| one.interface == interface);
        if let Some(other) = self.book.list()?.iter().find(|network| has_interface(network)) {
            return Err(Error::Conflict(format!(
                "the bridge {interface} is that of network {}: networks have bridges of their own",
                other.name
            )));
        }
        Ok(Bridge {
            interface,
            subnets: self.subnets(request)?,
            internal: request.internal,
            masquerade: options.switch(MASQUERADE)?.unwrap_or(true),
            is_open_inside: options.switch(INSIDE)?.unwrap_or(true),
            mtu: options.mtu()?,
            data_directory: None,
        })
    }

    fn subnets(&self, request: &NetworkRequest) -> Result<Vec<Subnet>> {
        let mut chosen = Vec::new();
        for asked in &request.subnets {
            let subnet = Subnet::new(asked.subnet, asked.gateway, asked.ip_range).map_err(|error| {
                Error::InvalidArgument(format!("invalid subnet {}: {}", asked.subnet, chain(&error)))
            })?;
            chosen.push(subnet);
        }
        let has =
            |chosen: &[Subnet], is_v4: bool| chosen.iter().any(|one| one.subnet.addr().is_ipv4() == is_v4);
        if chosen.iter().filter(|one| one.subnet.addr().is_ipv4()).count() > 1 || chosen.len() > 2 {
            return Err(Error::InvalidArgument(
                "bridge driver doesn't support multiple subnets of one address family".into(),
            ));
        }
        if has(&chosen, false) && !request.ipv6 {
            return Err(Error::InvalidArgument("an IPv6 subnet needs --ipv6".into()));
        }
        let taken = self.taken()?;
        for one in &chosen {
            if let Some(other) = taken.iter().find(|taken| subnets::meet(&one.subnet, taken)) {
                return Err(Error::Forbidden(format!(
                    "invalid pool request: Pool overlaps with other one on this address space: {} meets {other}",
                    one.subnet
                )));
            }
        }
        if !has(&chosen, true) {
            chosen.insert(0, self.free_subnet()?);
        }
        if request.ipv6 && !has(&chosen, false) {
            chosen.push(self.free_subnet_v6()?);
        }
        chosen.sort_by_key(|one| one.subnet.addr().is_ipv6());
        Ok(chosen)
    }
}

/// The default network's options, as if somebody had asked for it: programs look for the bridge's name there.
pub(super) fn options_of_default(bridge: &Bridge) -> BTreeMap<String, String> {
    /// What an interface has when nobody says otherwise.
    const ETHERNET_MTU: u32 = 1500;
    let options = [
        ("com.docker.network.bridge.default_bridge", "true".to_owned()),
        (INSIDE, bridge.is_open_inside.to_string()),
        (MASQUERADE, bridge.masquerade.to_string()),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0".to_owned()),
        (NAME, bridge.interface.clone()),
        (MTU[0], bridge.mtu.unwrap_or(ETHERNET_MTU).to_string()),
    ];
    options.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The options of a network to be made.
struct Options<'a>(&'a BTreeMap<String, String>);

impl Options<'_> {
    /// An option that would be ignored is a promise that would be broken.
    fn check(&self) -> Result<()> {
        let known = [NAME, MASQUERADE, INSIDE, MTU[0], MTU[1]];
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => {
                Err(Error::Unsupported(format!("the option `{key}` of bridge networks is not there yet")))
            }
            None => Ok(()),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).filter(|value| !value.is_empty()).cloned()
    }

    fn switch(&self, key: &str) -> Result<Option<bool>> {
        match self.text(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(value) => {
                Err(Error::InvalidArgument(format!("invalid value {value:?} for the option {key}")))
            }
        }
    }

    fn mtu(&self) -> Result<Option<u32>> {
        let Some((key, value)) = MTU.iter().find_map(|key| Some((key, self.text(key)?))) else {
            return Ok(None);
        };
        // The smallest packets that IPv4 must be able to carry, and the largest that a packet's length can say.
        match value.parse::<u32>() {
            Ok(0) => Ok(None),
            Ok(mtu @ 68..=65_535) => Ok(Some(mtu)),
            Ok(_) => Err(Error::InvalidArgument(format!("invalid value {value:?} for the option {key}"))),
            Err(_) => Err(Error::InvalidArgument(format!(
                "failed to parse {key} value: {value} (strconv.Atoi: parsing {value:?}: invalid syntax)"
            ))),
        }
    }
}

/// Whether a container's address may be chosen by its user there: Docker allows it where the prefix does not change.
pub(super) fn is_of_people(name: &str) -> bool {
    name != DEFAULT_NETWORK
}
