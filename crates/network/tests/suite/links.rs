//! Bridges, pairs, addresses and routes.

use network::Error;
use network::link::{Bridge, Links, forwarding};
use network::namespace::Namespace;

use crate::host::{Machine, at, endpoint, eventually};

#[test]
fn two_containers_of_a_bridge_reach_each_other_and_the_host() {
    let machine = Machine::new();
    machine.bridge("br0", &["10.9.0.1/24", "fd09::1/64"]);
    let one = machine.container("br0", "veth1", &["10.9.0.2/24", "fd09::2/64"], &["10.9.0.1", "fd09::1"]);
    let other = machine.container("br0", "veth2", &["10.9.0.3/24", "fd09::3/64"], &["10.9.0.1", "fd09::1"]);
    one.serve(80, "one");
    assert_eq!(other.fetch(at("10.9.0.2", 80)).as_deref(), Some("one 10.9.0.3"));
    assert_eq!(crate::host::fetch(at("10.9.0.2", 80)).unwrap(), "one 10.9.0.1");
    // Neither waits for the detection of duplicate addresses.
    let v6 = one.namespace.run(|| Ok(std::net::TcpListener::bind("[fd09::2]:81").is_ok())).unwrap();
    assert!(v6, "the address can be used at once");
    let routes = one.namespace.links().prefixes().unwrap();
    assert!(routes.contains(&"10.9.0.0/24".parse().unwrap()), "{routes:?}");
    let links = one.namespace.links().list().unwrap();
    let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
    assert_eq!(eth0.mac, [0x02, 0x42, 10, 9, 0, 2]);
    // No namespace, no interface: nobody has to remove it.
    assert!(machine.has_link("veth2"));
    drop(other);
    eventually("the interface of a namespace that is gone is gone", || !machine.has_link("veth2"));
    assert!(machine.has_link("veth1"));
}

#[test]
fn a_bridge_is_made_once_and_completed() {
    let machine = Machine::new();
    let index = machine.bridge("br0", &["10.9.0.1/24"]);
    let mac = machine.links.find("br0").unwrap().unwrap().mac;
    assert_eq!(machine.bridge("br0", &["10.9.0.1/24", "fd09::1/64"]), index);
    let container = machine.container("br0", "veth1", &["10.9.0.2/24"], &[]);
    assert_eq!(machine.links.find("br0").unwrap().unwrap().mac, mac, "a port does not change it");
    let addresses = machine.output(&["ip", "-br", "address", "show", "br0"]);
    assert!(addresses.contains("10.9.0.1/24") && addresses.contains("fd09::1/64"), "{addresses}");
    drop(container);
    assert!(machine.links.remove_link("br0").unwrap());
    assert!(!machine.links.remove_link("br0").unwrap());
}

#[test]
fn threads_that_make_the_same_bridge_agree() {
    let machine = Machine::new();
    let namespace = Namespace::open("/proc/thread-self/ns/net".as_ref()).unwrap();
    let indexes: Vec<u32> = std::thread::scope(|scope| {
        let make = || {
            let make = || {
                let bridge = Bridge {
                    name: "br0".into(),
                    addresses: vec!["10.9.0.1/24".parse().unwrap()],
                    mtu: None,
                    is_ipv6: false,
                };
                Ok(Links::open().unwrap().ensure_bridge(&bridge).unwrap())
            };
            namespace.run(make).unwrap()
        };
        let makers: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert!(indexes.iter().all(|index| *index == indexes[0]), "{indexes:?}");
    drop(machine);
}

#[test]
fn an_attachment_that_fails_leaves_nothing() {
    let machine = Machine::new();
    machine.bridge("br0", &["10.9.0.1/24"]);
    let namespace = Namespace::new([]).unwrap();
    // The gateway is in no prefix of the container.
    let wrong = endpoint("br0", "veth1", &["10.9.0.2/24"], &["10.8.0.1"]);
    let error = machine.links.attach(&namespace, &wrong).unwrap_err();
    assert!(error.to_string().contains("configure eth0"), "{error}");
    assert!(!machine.has_link("veth1"));
    assert_eq!(namespace.links().list().unwrap().len(), 1, "only the loopback interface");
    machine.links.attach(&namespace, &endpoint("br0", "veth1", &["10.9.0.2/24"], &[])).unwrap();
    let taken = machine.links.attach(&Namespace::new([]).unwrap(), &endpoint("br0", "veth1", &[], &[]));
    assert!(matches!(taken, Err(Error::Refused { .. })), "{taken:?}");
    assert!(machine.has_link("veth1"), "that of the other one");
    let missing = machine.links.attach(&namespace, &endpoint("br9", "veth2", &[], &[]));
    assert!(missing.unwrap_err().to_string().contains("br9"));
}

#[test]
fn what_is_no_bridge_is_not_made_one() {
    let machine = Machine::new();
    machine.output(&["ip", "link", "add", "br0", "type", "veth", "peer", "name", "br1"]);
    let bridge = Bridge { name: "br0".into(), addresses: Vec::new(), mtu: None, is_ipv6: false };
    let error = machine.links.ensure_bridge(&bridge).unwrap_err();
    assert!(matches!(&error, Error::NoBridge { name } if name == "br0"), "{error:?}");
}

#[test]
fn a_bridge_takes_over_the_mtu_of_the_way_out() {
    let machine = Machine::new();
    machine.output(&["ip", "link", "add", "out0", "mtu", "1400", "type", "veth", "peer", "name", "out1"]);
    machine.output(&["ip", "address", "add", "192.0.2.2/24", "dev", "out0"]);
    machine.output(&["ip", "link", "set", "out0", "up"]);
    machine.output(&["ip", "route", "add", "default", "via", "192.0.2.1"]);
    machine.bridge("br0", &["10.9.0.1/24"]);
    let container = machine.container("br0", "veth1", &["10.9.0.2/24"], &["10.9.0.1"]);
    let eth0 = container.namespace.links().find("eth0").unwrap().unwrap();
    assert_eq!((machine.links.find("br0").unwrap().unwrap().mtu, eth0.mtu), (1400, 1400));
    let prefixes = machine.links.prefixes().unwrap();
    assert!(
        prefixes.contains(&"192.0.2.0/24".parse().unwrap())
            && prefixes.iter().all(|one| one.prefix_len() > 0)
    );
}

#[test]
fn forwarding_is_switched_on_once() {
    let _machine = Machine::new();
    // A new namespace takes over the default of the first one.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    assert!(!network::link::is_forwarding());
    assert!(forwarding(false).unwrap());
    assert!(!forwarding(false).unwrap() && network::link::is_forwarding());
}

#[test]
fn a_namespace_has_its_own_parameters() {
    let namespace = Namespace::new([("net.ipv4.ip_unprivileged_port_start", "7")]).unwrap();
    let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert_eq!((namespace.run(|| Ok(read())).unwrap().trim(), read().trim() == "7"), ("7", false));
    let error = Namespace::new([("net.ipv4.nothing", "7")]).unwrap_err();
    assert!(error.to_string().contains("/proc/sys/net/ipv4/nothing"), "{error}");
}
