//! Published ports that are passed on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use resident::{Container, Protocol};

use crate::fixture::{Machine, PATIENCE, port};

/// A server that sends back what it gets until the client has said all, then says `end`.
fn echo_server(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut copy = stream.try_clone().unwrap();
                drop(std::io::copy(&mut copy, &mut stream));
                drop(stream.write_all(b"end"));
            });
        }
    });
    address
}

fn published(machine: &Machine, listener: &TcpListener, target: SocketAddr) {
    let ports = vec![port("tcp/1", Protocol::Tcp, target)];
    let container = Container { id: "a".into(), ports, ..Container::default() };
    machine.client.put(&container, None, &[("tcp/1", listener.as_fd())]).unwrap();
}

#[test]
fn connections_are_passed_on_whole_and_closed_half_by_half() {
    let machine = Machine::new();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let host = listener.local_addr().unwrap();
    // From one address family to the other.
    published(&machine, &listener, echo_server("127.0.0.1:0"));
    drop(listener);
    let mut client = TcpStream::connect(host).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    let mut writer = client.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert_eq!(received.len(), sent.len() + 3);
    assert!(received.starts_with(&sent) && received.ends_with(b"end"));
}

#[test]
fn a_port_is_free_when_its_container_is_removed() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    published(&machine, &listener, echo_server("127.0.0.1:0"));
    drop(listener);
    let client = TcpStream::connect(host).unwrap();
    assert!(UdpSocket::bind(host).is_ok() && TcpListener::bind(host).is_err());
    machine.client.remove("a").unwrap();
    // Not in use by a listener any more.
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &host).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    drop(client);
}

#[test]
fn a_container_that_does_not_listen_is_a_connection_reset() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    published(&machine, &listener, "127.0.0.1:1".parse().unwrap());
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn datagrams_find_their_way_back() {
    let machine = Machine::new();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, client)) = server.recv_from(&mut buffer) {
            drop(server.send_to(&buffer[..length], client));
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = socket.local_addr().unwrap();
    let ports = vec![port("udp/1", Protocol::Udp, target)];
    let container = Container { id: "a".into(), ports, ..Container::default() };
    machine.client.put(&container, None, &[("udp/1", socket.as_fd())]).unwrap();
    for text in ["one", "two"] {
        let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (number, client) in clients.iter().enumerate() {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.connect(host).unwrap();
            let message = format!("{text}{number}");
            client.send(message.as_bytes()).unwrap();
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], message.as_bytes());
        }
    }
}

#[test]
fn many_ports_come_in_one_message() {
    let machine = Machine::new();
    let target = echo_server("127.0.0.1:0");
    let listeners: Vec<TcpListener> = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let keys: Vec<String> = (0..100).map(|number| format!("tcp/{number}")).collect();
    let ports = keys.iter().map(|key| port(key, Protocol::Tcp, target)).collect();
    let sockets: Vec<_> = keys.iter().map(String::as_str).zip(listeners.iter().map(AsFd::as_fd)).collect();
    let container = Container { id: "a".into(), ports, ..Container::default() };
    machine.client.put(&container, None, &sockets).unwrap();
    let mut client = TcpStream::connect(listeners[99].local_addr().unwrap()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "end");
}
