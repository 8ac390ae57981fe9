//! Who is called what: the names of containers, by network. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::protocol::{Container, Membership};

/// All names.
#[derive(Debug, Default)]
pub(crate) struct Book {
    containers: HashMap<String, Arc<Container>>,
    /// By network: names in lower case, and addresses.
    networks: HashMap<String, Network>,
}

#[derive(Debug, Default)]
struct Network {
    /// Ids of the containers with that name.
    names: HashMap<String, Vec<String>>,
    addresses: HashMap<IpAddr, String>,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Addresses(Vec<IpAddr>),
    /// No container that the asker could mean is called so.
    Nothing,
}

impl Book {
    pub(crate) fn put(&mut self, container: Container) {
        self.remove(&container.id);
        for membership in &container.memberships {
            let network = self.networks.entry(membership.network.clone()).or_default();
            for name in distinct(membership) {
                network.names.entry(name).or_default().push(container.id.clone());
            }
            for address in &membership.addresses {
                network.addresses.insert(*address, container.id.clone());
            }
        }
        self.containers.insert(container.id.clone(), Arc::new(container));
    }

    pub(crate) fn remove(&mut self, id: &str) {
        let Some(container) = self.containers.remove(id) else { return };
        for membership in &container.memberships {
            let Some(network) = self.networks.get_mut(&membership.network) else { continue };
            for name in distinct(membership) {
                let mut holders = network.names.remove(&name).unwrap_or_default();
                holders.retain(|holder| holder != id);
                if !holders.is_empty() {
                    network.names.insert(name, holders);
                }
            }
            network.addresses.retain(|_, holder| holder != id);
            if network.names.is_empty() && network.addresses.is_empty() {
                self.networks.remove(&membership.network);
            }
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Container>> {
        self.containers.get(id)
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.containers.keys().cloned().collect()
    }

    /// The addresses of the containers that `asker` calls `name`: alone, or followed by the name of a network.
    pub(crate) fn find(&self, asker: &str, name: &str) -> Found {
        let Some(container) = self.containers.get(asker) else { return Found::Nothing };
        let name = name.to_lowercase();
        let mut addresses = Vec::new();
        let mut is_known = false;
        for own in &container.memberships {
            let Some(network) = self.networks.get(&own.network) else { continue };
            let suffix = format!(".{}", own.domain.to_lowercase());
            let names = [Some(name.as_str()), name.strip_suffix(&suffix)];
            let holders = names.into_iter().flatten().filter_map(|name| network.names.get(&meant(own, name)));
            for holder in holders.flatten() {
                is_known = true;
                addresses.extend(self.addresses_in(holder, &own.network));
            }
        }
        if is_known { Found::Addresses(addresses) } else { Found::Nothing }
    }

    /// The full name of the container that has an address in a network of the asker's.
    pub(crate) fn find_address(&self, asker: &str, address: IpAddr) -> Option<String> {
        let container = self.containers.get(asker)?;
        container.memberships.iter().find_map(|own| {
            let holder = self.networks.get(&own.network)?.addresses.get(&address)?;
            let named = self.membership(holder, &own.network)?;
            Some(format!("{}.{}", named.names.first()?, own.domain))
        })
    }

    fn membership(&self, id: &str, network: &str) -> Option<&Membership> {
        self.containers.get(id)?.memberships.iter().find(|one| one.network == network)
    }

    fn addresses_in(&self, id: &str, network: &str) -> Vec<IpAddr> {
        self.membership(id, network).map(|one| one.addresses.clone()).unwrap_or_default()
    }
}

/// The name of whom the asker calls so.
fn meant(asker: &Membership, name: &str) -> String {
    let link = asker.links.iter().find(|link| link.alias.to_lowercase() == name);
    link.map_or_else(|| name.to_owned(), |link| link.name.to_lowercase())
}

fn distinct(membership: &Membership) -> HashSet<String> {
    membership.names.iter().map(|name| name.to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Link;

    fn container(id: &str, memberships: &[(&str, &str, &[&str])]) -> Container {
        let memberships = memberships.iter().map(|(network, address, names)| Membership {
            network: format!("id-{network}"),
            domain: (*network).into(),
            addresses: vec![address.parse().unwrap()],
            names: names.iter().map(|name| (*name).into()).collect(),
            links: Vec::new(),
        });
        Container { id: id.into(), memberships: memberships.collect(), ..Container::default() }
    }

    fn found(book: &Book, asker: &str, name: &str) -> Option<String> {
        match book.find(asker, name) {
            Found::Addresses(list) => {
                Some(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            Found::Nothing => None,
        }
    }

    #[test]
    fn containers_find_each_other_in_their_networks_only() {
        let mut book = Book::default();
        book.put(container("a", &[("front", "10.1.0.2", &["web", "WWW"])]));
        book.put(container("b", &[("front", "10.1.0.3", &["db", "www"]), ("back", "10.2.0.3", &["db"])]));
        book.put(container("c", &[("back", "10.2.0.4", &["cache", "cache"])]));
        for (asker, name, expected) in [
            ("a", "db", Some("10.1.0.3")),
            ("a", "DB.front", Some("10.1.0.3")),
            ("a", "db.back", None),
            ("b", "db", Some("10.1.0.3 10.2.0.3")),
            ("b", "db.back", Some("10.2.0.3")),
            ("a", "www", Some("10.1.0.2 10.1.0.3")),
            ("a", "cache", None),
            ("c", "cache", Some("10.2.0.4")),
            ("c", "web", None),
            ("nobody", "web", None),
        ] {
            assert_eq!(found(&book, asker, name).as_deref(), expected, "{asker} {name}");
        }
        assert_eq!(book.find_address("a", "10.1.0.3".parse().unwrap()).as_deref(), Some("db.front"));
        assert_eq!(book.find_address("a", "10.2.0.3".parse().unwrap()), None);
    }

    #[test]
    fn a_link_is_a_name_for_its_container_alone() {
        let mut book = Book::default();
        let mut web = container("a", &[("front", "10.1.0.2", &["web"]), ("back", "10.2.0.2", &["web"])]);
        let link = |alias: &str, name: &str| Link { alias: alias.into(), name: name.into() };
        web.memberships[0].links = vec![link("Base", "DB"), link("later", "cache"), link("web", "db")];
        book.put(web);
        book.put(container("b", &[("front", "10.1.0.3", &["db"])]));
        for (asker, name, expected) in [
            ("a", "base", Some("10.1.0.3")),
            ("a", "BASE.front", Some("10.1.0.3")),
            ("a", "db", Some("10.1.0.3")),
            ("a", "base.back", None),
            ("a", "later", None),
            // Its own name means somebody else where it says so.
            ("a", "web.front", Some("10.1.0.3")),
            ("a", "web.back", Some("10.2.0.2")),
            ("b", "base", None),
        ] {
            assert_eq!(found(&book, asker, name).as_deref(), expected, "{asker} {name}");
        }
        book.put(container("c", &[("front", "10.1.0.4", &["cache"])]));
        assert_eq!(found(&book, "a", "later").as_deref(), Some("10.1.0.4"));
    }

    #[test]
    fn what_is_put_replaces_and_what_is_removed_leaves_nothing() {
        let mut book = Book::default();
        book.put(container("a", &[("front", "10.1.0.2", &["web"])]));
        book.put(container("a", &[("back", "10.2.0.2", &["site"])]));
        assert_eq!(
            (found(&book, "a", "web"), found(&book, "a", "site").as_deref()),
            (None, Some("10.2.0.2"))
        );
        book.remove("a");
        book.remove("a");
        assert!(book.containers.is_empty() && book.networks.is_empty());
    }
}
