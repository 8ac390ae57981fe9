//! Who reaches whom: two networks, the host, a machine outside.

use std::net::SocketAddr;

use network::firewall::{Firewall, NetworkRules, PortRule, Protocol, Ruleset, redirect_dns};
use network::link::forwarding;
use network::namespace::Namespace;

use crate::host::{Container, Machine, at, echo, eventually, fetch};

/// A host with networks `br0` (10.1.0.0/24) and `br1` (10.2.0.0/24), a container in each, and a machine outside at 192.0.2.9.
struct World {
    machine: Machine,
    firewall: Firewall,
    web: Container,
    other: Container,
    outside: Container,
}

fn network(bridge: &str, subnet: &str) -> NetworkRules {
    NetworkRules {
        bridge: bridge.into(),
        subnets: vec![subnet.parse().unwrap()],
        masquerade: true,
        internal: false,
        icc: true,
    }
}

fn networks() -> Vec<NetworkRules> {
    vec![network("br0", "10.1.0.0/24"), network("br1", "10.2.0.0/24")]
}

fn port(protocol: Protocol, host: Option<&str>, host_port: u16, target: &str) -> PortRule {
    let host = host.map(|text| text.parse().unwrap());
    PortRule { host, host_port, protocol, target: target.parse().unwrap() }
}

impl World {
    fn new() -> World {
        let machine = Machine::new();
        forwarding(false).unwrap();
        machine.bridge("br0", &["10.1.0.1/24"]);
        machine.bridge("br1", &["10.2.0.1/24"]);
        let web = machine.container("br0", "veth-web", &["10.1.0.2/24"], &["10.1.0.1"]);
        let other = machine.container("br1", "veth-other", &["10.2.0.2/24"], &["10.2.0.1"]);
        // Outside is a wire of the host's own, without a route to the containers.
        machine.bridge("wire", &["192.0.2.1/24"]);
        let outside = machine.container("wire", "veth-out", &["192.0.2.9/24"], &[]);
        web.serve(80, "web");
        web.serve_udp(80);
        let firewall = Firewall::open("corten").unwrap();
        World { machine, firewall, web, other, outside }
    }

    fn with_rules(ports: Vec<PortRule>) -> World {
        let world = World::new();
        world.firewall.replace(&Ruleset { networks: networks(), ports }).unwrap();
        world
    }

    fn published() -> World {
        World::with_rules(vec![
            port(Protocol::Tcp, None, 8080, "10.1.0.2:80"),
            port(Protocol::Udp, None, 8080, "10.1.0.2:80"),
            port(Protocol::Tcp, Some("192.0.2.1"), 8081, "10.1.0.2:80"),
        ])
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let world = World::published();
    let host = |port| at("192.0.2.1", port);
    assert_eq!(world.outside.fetch(host(8080)).as_deref(), Some("web 192.0.2.9"), "who comes is seen");
    assert_eq!(fetch(host(8080)).unwrap(), "web 192.0.2.1", "from the host by its address");
    assert_eq!(world.other.fetch(host(8080)).as_deref(), Some("web 10.1.0.1"), "from another network");
    let neighbour = world.machine.container("br0", "veth-near", &["10.1.0.3/24"], &["10.1.0.1"]);
    assert_eq!(neighbour.fetch(host(8080)).as_deref(), Some("web 10.1.0.1"), "from a neighbour");
    assert_eq!(world.web.fetch(host(8080)).as_deref(), Some("web 10.1.0.1"), "from itself");
    assert_eq!(world.outside.echo(host(8080)).as_deref(), Some("hello"), "by datagrams");
    assert_eq!(echo(host(8080)).unwrap(), "hello");
    // At one address only.
    assert_eq!(world.outside.fetch(host(8081)).as_deref(), Some("web 192.0.2.9"));
    assert!(fetch(at("10.1.0.1", 8081)).is_err() && fetch(at("10.1.0.1", 8080)).is_ok());
}

#[test]
fn what_is_not_published_is_not_reached() {
    let world = World::published();
    // By routing through the host, as a neighbour on its wire could.
    let route = |container: &Container| {
        let gateway = ["192.0.2.1".parse().unwrap()];
        container.namespace.links().add_default_routes("eth0", &gateway).unwrap();
    };
    route(&world.outside);
    assert_eq!(world.outside.fetch(at("10.1.0.2", 80)), None, "from outside");
    assert_eq!(world.other.fetch(at("10.1.0.2", 80)), None, "from another network");
    assert_eq!(fetch(at("10.1.0.2", 80)).unwrap(), "web 10.1.0.1", "the host reaches its containers");
    // A connection that nobody answers: what is not the host's is not translated.
    assert_eq!(world.other.fetch(at("192.0.2.9", 8080)), None);
}

#[test]
fn containers_go_out_with_the_address_of_the_host() {
    let world = World::with_rules(Vec::new());
    world.outside.serve(80, "outside");
    assert_eq!(world.web.fetch(at("192.0.2.9", 80)).as_deref(), Some("outside 192.0.2.1"));
}

#[test]
fn an_internal_network_is_closed_and_a_network_may_be_closed_inside() {
    let world = World::new();
    let mut networks = networks();
    networks[0].internal = true;
    networks[1].icc = false;
    world.firewall.replace(&Ruleset { networks, ports: Vec::new() }).unwrap();
    world.outside.serve(80, "outside");
    let neighbour = world.machine.container("br0", "veth-near", &["10.1.0.3/24"], &["10.1.0.1"]);
    assert_eq!(world.web.fetch(at("192.0.2.9", 80)), None, "no way out");
    assert_eq!(neighbour.fetch(at("10.1.0.2", 80)).as_deref(), Some("web 10.1.0.3"));
    world.other.serve(80, "other");
    let near_other = world.machine.container("br1", "veth-near2", &["10.2.0.3/24"], &["10.2.0.1"]);
    let sees_bridged = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    // Whether packets between ports of one bridge pass these chains at all is the host's choice.
    if sees_bridged.is_ok_and(|text| text.trim() == "1") {
        assert_eq!(near_other.fetch(at("10.2.0.2", 80)), None, "not inside either");
    }
}

#[test]
fn ports_come_and_go_one_by_one() {
    let world = World::with_rules(Vec::new());
    let host = at("192.0.2.1", 8080);
    let tcp = port(Protocol::Tcp, None, 8080, "10.1.0.2:80");
    assert_eq!(world.outside.fetch(host), None);
    world.firewall.publish(std::slice::from_ref(&tcp)).unwrap();
    world.firewall.publish(std::slice::from_ref(&tcp)).unwrap();
    assert!(world.outside.fetch(host).is_some());
    // Another container takes it over.
    world.other.serve(80, "other");
    let taken_over = port(Protocol::Tcp, None, 8080, "10.2.0.2:80");
    world.firewall.publish(std::slice::from_ref(&taken_over)).unwrap();
    assert_eq!(world.outside.fetch(host).as_deref(), Some("other 192.0.2.9"));
    let absent = port(Protocol::Udp, None, 9, "10.1.0.2:9");
    world.firewall.unpublish(&[absent.clone(), taken_over]).unwrap();
    world.firewall.unpublish(&[absent, tcp]).unwrap();
    assert_eq!(world.outside.fetch(host), None);
}

#[test]
fn datagrams_of_a_client_that_goes_on_reach_the_new_container() {
    let world = World::published();
    let socket = world.outside.namespace.run(|| Ok(std::net::UdpSocket::bind("0.0.0.0:0").unwrap())).unwrap();
    let host: SocketAddr = at("192.0.2.1", 8080);
    let answers = |socket: &std::net::UdpSocket| {
        socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        socket.send_to(b"x", host).unwrap();
        socket.recv_from(&mut [0; 8]).is_ok()
    };
    assert!(answers(&socket));
    world.other.serve_udp(81);
    let moved = port(Protocol::Udp, None, 8080, "10.2.0.2:81");
    world.firewall.publish(std::slice::from_ref(&moved)).unwrap();
    // The old one is gone; only the new one can answer.
    world.web.namespace.links().remove_link("eth0").unwrap();
    assert!(answers(&socket));
}

#[test]
fn a_flush_is_noticed_and_repaired() {
    let world = World::published();
    let mut watch = world.firewall.watch().unwrap();
    let ruleset =
        Ruleset { networks: networks(), ports: vec![port(Protocol::Tcp, None, 8080, "10.1.0.2:80")] };
    world.firewall.replace(&ruleset).unwrap();
    assert!(!watch.drain().unwrap(), "what we do ourselves is no news");
    world.machine.output(&["nft", "flush", "ruleset"]);
    eventually("the flush is noticed", || watch.drain().unwrap());
    assert_eq!(world.outside.fetch(at("192.0.2.1", 8080)), None);
    world.firewall.replace(&ruleset).unwrap();
    assert!(world.outside.fetch(at("192.0.2.1", 8080)).is_some());
    world.machine.output(&["nft", "add", "table", "inet", "somebody"]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!watch.drain().unwrap(), "somebody else's table is none of our business");
    world.firewall.clear().unwrap();
    assert_eq!(world.machine.output(&["nft", "list", "tables"]), "table inet somebody\n");
}

#[test]
fn chains_of_iptables_that_drop_are_joined() {
    let world = World::published();
    let iptables = |words: &[&str]| world.machine.output(&[&["iptables"], words].concat());
    iptables(&["-P", "FORWARD", "DROP"]);
    iptables(&["-A", "FORWARD", "-i", "nothing", "-j", "ACCEPT"]);
    assert_eq!(world.outside.fetch(at("192.0.2.1", 8080)), None, "a drop elsewhere is final");
    let ruleset =
        Ruleset { networks: networks(), ports: vec![port(Protocol::Tcp, None, 8080, "10.1.0.2:80")] };
    world.firewall.replace(&ruleset).unwrap();
    assert!(world.outside.fetch(at("192.0.2.1", 8080)).is_some());
    world.firewall.replace(&ruleset).unwrap();
    let listed = iptables(&["-S", "FORWARD"]);
    for rule in [
        "-i br0 -m comment --comment \"corten: from br0\" -j ACCEPT",
        "-o br1 -m comment --comment \"corten: to br1\" -j ACCEPT",
    ] {
        assert_eq!(listed.matches(rule).count(), 1, "{listed}");
    }
    // Docker keeps a chain for rules like these.
    iptables(&["-N", "DOCKER-USER"]);
    iptables(&["-I", "FORWARD", "-j", "DOCKER-USER"]);
    let one = Ruleset { networks: vec![network("br0", "10.1.0.0/24")], ports: ruleset.ports.clone() };
    world.firewall.replace(&one).unwrap();
    assert_eq!(iptables(&["-S", "DOCKER-USER"]).matches("-j ACCEPT").count(), 2);
    assert!(!iptables(&["-S", "FORWARD"]).contains("br0"));
    world.firewall.clear().unwrap();
    let listed = iptables(&["-S"]);
    assert!(!listed.contains("br0") && listed.contains("-i nothing"), "{listed}");
}

#[test]
fn questions_for_names_are_redirected() {
    let namespace = Namespace::new([]).unwrap();
    let (udp, tcp) = namespace
        .run(|| {
            let udp = std::net::UdpSocket::bind("127.0.0.11:0").unwrap();
            Ok((udp, std::net::TcpListener::bind("127.0.0.11:0").unwrap()))
        })
        .unwrap();
    let ports = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
    redirect_dns(&namespace, 1, 1).unwrap();
    redirect_dns(&namespace, ports.0, ports.1).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            drop(udp.send_to(&buffer[..length], peer));
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            drop(std::io::Write::write_all(&mut stream, b"tcp"));
        }
    });
    let io = |result: std::io::Result<String>| result.map_err(|_| rustix::io::Errno::IO);
    assert_eq!(namespace.run(|| io(echo(at("127.0.0.11", 53)))).unwrap(), "hello");
    assert_eq!(namespace.run(|| io(fetch(at("127.0.0.11", 53)))).unwrap(), "tcp");
}

#[test]
fn the_table_reads_as_a_person_would_have_written_it() {
    let world = World::published();
    let text = world.machine.output(&["nft", "list", "table", "inet", "corten"]);
    for expected in [
        "fib daddr type local jump published",
        "dnat ip to ip daddr . meta l4proto . th dport map @ports4at",
        "dnat ip to meta l4proto . th dport map @ports4",
        "tcp . 8080 : 10.1.0.2 . 80",
        "192.0.2.1 . tcp . 8081 : 10.1.0.2 . 80",
        "ip saddr 10.1.0.0/24 oifname != \"br0\" ip daddr != 224.0.0.0/4 masquerade",
        "ct state established,related accept",
        "oifname @bridges drop",
        "elements = { \"br0\",",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}
