//! Names: of containers, and of the rest of the world.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::fixture::{Asker, Machine, addresses, container, put_asker, query, reply};

/// A server that answers every question with 192.0.2.5, by UDP and TCP; first with an answer that is none of the question's.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let mut forged = reply(&buffer[..length], [6, 6, 6, 6]);
            forged[0] ^= 1;
            drop(socket.send_to(&forged, client));
            drop(socket.send_to(&reply(&buffer[..length], [192, 0, 2, 5]), client));
        }
    });
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut length = [0; 2];
            drop(stream.read_exact(&mut length));
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            drop(stream.read_exact(&mut message));
            let answer = reply(&message, [192, 0, 2, 6]);
            drop(stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()));
            drop(stream.write_all(&answer));
        }
    });
    address
}

fn text(asker: &Asker, name: &str) -> Option<String> {
    Some(asker.resolve(name)?.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn containers_are_found_by_name_and_others_are_asked_for() {
    let machine = Machine::new();
    let web = put_asker(&machine, container("web", "front", "10.1.0.2", &["web", "www"]), &[upstream()]);
    machine.client.put(&container("db", "front", "10.1.0.3", &["db"]), None, &[]).unwrap();
    machine.client.put(&container("other", "back", "10.2.0.3", &["other"]), None, &[]).unwrap();
    for (name, expected) in [
        ("db", "10.1.0.3"),
        ("DB.front", "10.1.0.3"),
        ("www", "10.1.0.2"),
        ("example.org", "192.0.2.5"),
        // Of a network that it is not in, it knows as little as of the world.
        ("other", "192.0.2.5"),
    ] {
        assert_eq!(text(&web, name).as_deref(), Some(expected), "{name}");
    }
    let by_tcp = |name: &str| addresses(&web.ask_by_tcp(&query(9, name)).unwrap()).unwrap()[0].to_string();
    assert_eq!((by_tcp("db"), by_tcp("example.org")), ("10.1.0.3".into(), "192.0.2.6".into()));
    machine.client.remove("db").unwrap();
    assert_eq!(text(&web, "db").as_deref(), Some("192.0.2.5"));
}

#[test]
fn several_containers_of_one_name_take_turns() {
    let machine = Machine::new();
    let asker = put_asker(&machine, container("a", "front", "10.1.0.2", &["a"]), &[]);
    for (id, address) in [("b", "10.1.0.3"), ("c", "10.1.0.4")] {
        machine.client.put(&container(id, "front", address, &["pool"]), None, &[]).unwrap();
    }
    let first = |id| addresses(&asker.ask(&query(id, "pool")).unwrap()).unwrap();
    let (one, other) = (first(1), first(2));
    assert_eq!((one.len(), one[0] == other[1], one[1] == other[0]), (2, true, true));
}

#[test]
fn a_network_without_a_way_out_has_no_other_names_and_a_dead_server_is_passed_over() {
    let machine = Machine::new();
    let closed = put_asker(&machine, container("a", "front", "10.1.0.2", &["a"]), &[]);
    assert_eq!(closed.resolve("example.org"), None);
    // Nobody is there: the kernel says so at once.
    let dead: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let asker = put_asker(&machine, container("b", "front", "10.1.0.3", &["b"]), &[dead, upstream()]);
    assert_eq!(text(&asker, "example.org").as_deref(), Some("192.0.2.5"));
    let alone = put_asker(&machine, container("c", "front", "10.1.0.4", &["c"]), &[dead]);
    let answer = alone.ask(&query(3, "example.org")).unwrap();
    assert_eq!((answer[1], answer[3] & 0xf), (3, 2), "the server failed");
}

#[test]
fn nonsense_is_answered_as_such_and_harms_nobody() {
    let machine = Machine::new();
    let asker = put_asker(&machine, container("a", "front", "10.1.0.2", &["a"]), &[]);
    let answer = asker.ask(&[0, 5, 1, 0, 0, 1, 0, 0]).unwrap();
    assert_eq!((answer[1], answer[3] & 0xf), (5, 1), "malformed");
    assert_eq!(asker.ask_by_tcp(&[0, 6, 1]).unwrap()[1], 6);
    assert_eq!(text(&asker, "a").as_deref(), Some("10.1.0.2"));
}
