//! Networks made ready for their first container, and taken down after their last: bridges and rules.

use ipnet::IpNet;
use network::conflist::{Bridge, Driver, Network, Subnet};
use network::firewall::{NetworkRules, Ruleset};
use network::link;

use super::fabric::{DEFAULT_NETWORK, Fabric};
use super::subnets;
use crate::clock;
use crate::error::{Error, Result, chain};

impl Fabric {
    /// The default network, which is made when it is needed first.
    pub(crate) fn default_network(&self) -> Result<Network> {
        if let Some(network) = self.book.get(DEFAULT_NETWORK)? {
            return Ok(network);
        }
        let _turn = self.turn();
        if let Some(network) = self.book.get(DEFAULT_NETWORK)? {
            return Ok(network);
        }
        let bridge = Bridge {
            interface: self.config().bridge.clone(),
            subnets: vec![self.free_subnet()?],
            internal: false,
            masquerade: true,
            is_open_inside: true,
            mtu: None,
            data_directory: None,
        };
        let network = Network {
            id: crate::random::hex::<32>(),
            name: DEFAULT_NETWORK.into(),
            created_ns: Some(clock::now_ns()),
            labels: [].into(),
            options: [].into(),
            attachable: false,
            driver: Driver::Bridge(bridge),
        };
        self.book.put(&network)?;
        Ok(network)
    }

    /// A prefix that nothing here uses.
    pub(crate) fn free_subnet(&self) -> Result<Subnet> {
        let prefix = subnets::choose_v4(&self.taken()?).ok_or_else(|| {
            Error::Conflict(
                "all predefined address pools have been fully subnetted; choose one with --subnet".into(),
            )
        })?;
        Ok(Subnet::chosen(prefix).expect("the pool has only good prefixes"))
    }

    /// A unique local prefix that nothing here uses.
    pub(crate) fn free_subnet_v6(&self) -> Result<Subnet> {
        let taken = self.taken()?;
        let prefix = std::iter::repeat_with(|| subnets::choose_v6(crate::random::bytes(), &taken))
            .take(16)
            .flatten()
            .next()
            .ok_or_else(|| Error::Conflict("no IPv6 prefix is free; choose one with --subnet".into()))?;
        Ok(Subnet::chosen(prefix).expect("a /64 has room"))
    }

    /// Prefixes that are spoken for: by networks, the host's interfaces and routes, its name servers.
    pub(crate) fn taken(&self) -> Result<Vec<IpNet>> {
        let mut taken = self.links()?.prefixes()?;
        for network in self.book.list()? {
            taken.extend(
                network.bridge().into_iter().flat_map(|bridge| bridge.subnets.iter().map(|one| one.subnet)),
            );
        }
        taken.extend(super::fabric::host_resolv_conf().servers.into_iter().map(subnets::single));
        Ok(taken)
    }

    /// Makes sure that a network's bridge and rules are there.
    pub(crate) fn make_ready(&self, network: &Network) -> Result<()> {
        if self.is_active(network) {
            return Ok(());
        }
        let _turn = self.turn();
        if self.is_active(network) {
            return Ok(());
        }
        self.raise_bridge(network)?;
        self.set_active(network);
        let applied = self.apply_rules();
        if applied.is_err() {
            self.set_inactive(&network.name);
        }
        applied
    }

    /// Makes a network's interface.
    pub(crate) fn raise_bridge(&self, network: &Network) -> Result<()> {
        let bridge = super::fabric::bridge_of(network)?;
        let addresses = bridge
            .subnets
            .iter()
            .map(|one| IpNet::new(one.gateway, one.subnet.prefix_len()).expect("the subnet's own length"));
        let interface = link::Bridge {
            name: bridge.interface.clone(),
            addresses: addresses.collect(),
            mtu: bridge.mtu,
            is_ipv6: bridge.is_ipv6(),
        };
        self.links()?.ensure_bridge(&interface)?;
        if !bridge.internal && link::forwarding(bridge.is_ipv6())? {
            tracing::info!(
                network = network.name,
                "forwarding of packets between interfaces was switched on"
            );
        }
        Ok(())
    }

    /// Removes a network's interface and rules. No container is in it.
    pub(crate) fn take_down(&self, network: &Network) -> Result<()> {
        let _turn = self.turn();
        let was_active = self.set_inactive(&network.name);
        if let Some(bridge) = network.bridge() {
            // Another program's containers may be on it, where the network is not ours. On ours there may be ports of containers that
            // have just ended, which the kernel is about to remove.
            let is_ours = network.created_ns.is_some();
            if is_ours || !self.links()?.has_ports(&bridge.interface)? {
                self.links()?.remove_link(&bridge.interface)?;
            }
            if was_active {
                self.apply_rules()?;
            }
        }
        Ok(())
    }

    /// Writes all rules anew, at once; none, when no network is in use.
    pub(crate) fn apply_rules(&self) -> Result<()> {
        let _rules = self.rules();
        let ruleset = self.ruleset();
        let firewall = self.firewall()?;
        if ruleset.networks.is_empty() {
            firewall.clear()?
        } else {
            firewall.replace(&ruleset)?
        }
        Ok(())
    }

    /// Lets go of every network without a container, when the engine closes.
    pub(crate) fn rest(&self) {
        let is_busy = self.has_containers();
        for network in self.active() {
            if !self.is_used(&network.name)
                && let Err(error) = self.take_down(&network)
            {
                tracing::warn!(
                    network = network.name,
                    error = chain(&error),
                    "a network could not be taken down"
                );
            }
        }
        if !is_busy
            && let Some(firewall) = self.opened_firewall()
            && let Err(error) = firewall.clear()
        {
            tracing::warn!(error = chain(&error), "the rules of networks could not be removed");
        }
    }

    fn ruleset(&self) -> Ruleset {
        let networks = self.active().iter().filter_map(|network| network.bridge().map(rules_of)).collect();
        Ruleset { networks, ports: self.port_rules() }
    }
}

fn rules_of(bridge: &Bridge) -> NetworkRules {
    NetworkRules {
        bridge: bridge.interface.clone(),
        subnets: bridge.subnets.iter().map(|one| one.subnet).collect(),
        masquerade: bridge.masquerade,
        internal: bridge.internal,
        icc: bridge.is_open_inside,
    }
}
