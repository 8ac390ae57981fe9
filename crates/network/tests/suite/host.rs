//! A machine of a test's own: the test's thread moves into a fresh network namespace, and everything that it starts with it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use network::link::{Bridge, Endpoint, Links, mac_of};
use network::namespace::Namespace;

/// How long a packet that must arrive may take; one that must not is waited for shortly.
const PATIENCE: Duration = Duration::from_secs(10);
const SHORTLY: Duration = Duration::from_millis(400);

/// The namespace that the test's thread is in.
pub(crate) struct Machine {
    pub(crate) links: Links,
}

/// A namespace with an interface on a bridge.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        linux::unshare::network().unwrap();
        let links = Links::open().unwrap();
        links.raise("lo").unwrap();
        Machine { links }
    }

    pub(crate) fn bridge(&self, name: &str, addresses: &[&str]) -> u32 {
        let addresses: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let is_ipv6 = addresses.iter().any(|prefix| prefix.addr().is_ipv6());
        self.links.ensure_bridge(&Bridge { name: name.into(), addresses, mtu: None, is_ipv6 }).unwrap()
    }

    pub(crate) fn container(
        &self,
        bridge: &str,
        host_interface: &str,
        addresses: &[&str],
        gateways: &[&str],
    ) -> Container {
        let namespace = Namespace::new([]).unwrap();
        let endpoint = endpoint(bridge, host_interface, addresses, gateways);
        self.links.attach(&namespace, &endpoint).unwrap();
        Container { namespace, addresses: endpoint.addresses.iter().map(IpNet::addr).collect() }
    }

    /// What a command prints here.
    pub(crate) fn output(&self, words: &[&str]) -> String {
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    pub(crate) fn has_link(&self, name: &str) -> bool {
        self.links.find(name).unwrap().is_some()
    }
}

pub(crate) fn endpoint(
    bridge: &str,
    host_interface: &str,
    addresses: &[&str],
    gateways: &[&str],
) -> Endpoint {
    let addresses: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let mac = match addresses.first().map(IpNet::addr) {
        Some(IpAddr::V4(address)) => mac_of(address),
        _ => [2, 0, 0, 0, 0, 1],
    };
    Endpoint {
        bridge: bridge.into(),
        host_interface: host_interface.into(),
        interface: "eth0".into(),
        mac,
        addresses,
        gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
        mtu: None,
    }
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn io<T>(result: io::Result<T>) -> rustix::io::Result<T> {
    result.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
}

impl Container {
    /// Serves one greeting to everybody who connects, as long as the test lives.
    pub(crate) fn serve(&self, port: u16, greeting: &'static str) {
        let any = if self.addresses[0].is_ipv4() { "0.0.0.0" } else { "::" };
        let listener = self.namespace.run(|| io(TcpListener::bind(at(any, port)))).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream: TcpStream = stream;
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                drop(write!(stream, "{greeting} {peer}"));
            }
        });
    }

    /// Answers every datagram.
    pub(crate) fn serve_udp(&self, port: u16) {
        let socket = self.namespace.run(|| io(UdpSocket::bind(at("0.0.0.0", port)))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                drop(socket.send_to(&buffer[..length], peer));
            }
        });
    }

    /// What a server greets a client in here with; None: it is not reached.
    pub(crate) fn fetch(&self, server: SocketAddr) -> Option<String> {
        self.namespace.run(|| io(fetch(server))).ok()
    }

    pub(crate) fn echo(&self, server: SocketAddr) -> Option<String> {
        self.namespace.run(|| io(echo(server))).ok()
    }
}

/// What a server greets a client with, from the calling thread's namespace.
pub(crate) fn fetch(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, SHORTLY)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// What comes back of a datagram.
pub(crate) fn echo(server: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(at("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(SHORTLY))?;
    socket.connect(server)?;
    socket.send(b"hello")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Waits for what the kernel does in the background.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_true() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}
