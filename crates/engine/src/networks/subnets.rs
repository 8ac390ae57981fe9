//! Which prefix a network gets when nobody says. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Docker's pool, in its order: sixteen /16 and sixteen /20.
fn pool() -> impl Iterator<Item = Ipv4Net> {
    let large = (17..32).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|third| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, third * 16, 0), 20));
    large.chain(small)
}

/// The first prefix of the pool that meets none of `taken`: other networks, the host's routes, its name servers.
pub(crate) fn choose_v4(taken: &[IpNet]) -> Option<IpNet> {
    pool().map(IpNet::V4).find(|candidate| !meets_any(candidate, taken))
}

/// A unique local prefix (RFC 4193) with random bits.
pub(crate) fn choose_v6(random: [u8; 5], taken: &[IpNet]) -> Option<IpNet> {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&random);
    let prefix = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(octets), 64));
    (!meets_any(&prefix, taken)).then_some(prefix)
}

/// Whether two prefixes have an address in common.
pub(crate) fn meet(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// A prefix of one address.
pub(crate) fn single(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

fn meets_any(candidate: &IpNet, taken: &[IpNet]) -> bool {
    taken.iter().any(|taken| meet(candidate, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_prefix_that_meets_nothing_is_chosen() {
        let taken = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        for (others, expected) in [
            (&[] as &[&str], Some("172.17.0.0/16")),
            (&["172.17.0.0/16", "172.18.5.0/24"], Some("172.19.0.0/16")),
            (&["172.16.0.0/12", "192.168.1.7/32"], Some("192.168.16.0/20")),
            (&["fd00::/8"], Some("172.17.0.0/16")),
            (&["172.16.0.0/12", "192.168.0.0/16"], None),
        ] {
            let chosen = choose_v4(&taken(others)).map(|prefix| prefix.to_string());
            assert_eq!(chosen.as_deref(), expected, "{others:?}");
        }
        let random = choose_v6([1, 2, 3, 4, 5], &[]).unwrap();
        assert_eq!(random.to_string(), "fd01:203:405::/64");
        assert_eq!(choose_v6([1, 2, 3, 4, 5], &[random]), None);
    }
}
