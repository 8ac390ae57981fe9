//! What it costs to give a container a network: medians of a hundred, in microseconds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use network::link::{Bridge, Endpoint, Links};
use network::namespace::Namespace;

fn main() {
    linux::unshare::network().unwrap();
    let links = Links::open().unwrap();
    let addresses = vec!["10.9.0.1/16".parse().unwrap()];
    links.ensure_bridge(&Bridge { name: "br0".into(), addresses, mtu: None, is_ipv6: false }).unwrap();
    let (mut made, mut attached) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let begin = Instant::now();
        let namespace = Namespace::new([]).unwrap();
        made.push(begin.elapsed());
        let endpoint = Endpoint {
            bridge: "br0".into(),
            host_interface: format!("veth{number}"),
            interface: "eth0".into(),
            mac: [2, 66, 10, 9, 1, number],
            addresses: vec![format!("10.9.1.{number}/16").parse().unwrap()],
            gateways: vec!["10.9.0.1".parse().unwrap()],
            mtu: None,
        };
        let begin = Instant::now();
        links.attach(&namespace, &endpoint).unwrap();
        attached.push(begin.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    for (what, times) in [("namespace", &mut made), ("attach", &mut attached)] {
        times.sort();
        println!("{what}: {} µs", times[times.len() / 2].as_micros());
    }
}
