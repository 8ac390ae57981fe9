//! The process and its daemons.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::Command;

use resident::{Client, Container, Protocol};

use crate::fixture::{Machine, container, eventually, port, program, put_asker};

#[test]
fn it_goes_on_without_its_daemon_and_tells_the_next_one_what_it_holds() {
    let mut machine = Machine::new();
    let asker = put_asker(&machine, container("a", "front", "10.1.0.2", &["a"]), &[]);
    let pid = machine.pid().unwrap();
    // The connection breaks, as when its process is killed.
    machine.client = Client::find(machine.directory.path()).unwrap();
    assert!(asker.resolve("a").is_some());
    machine.again();
    assert_eq!((machine.client.containers().unwrap(), machine.pid()), (vec!["a".into()], Some(pid)));
    machine.client.put(&container("b", "front", "10.1.0.3", &["b"]), None, &[]).unwrap();
    assert!(asker.resolve("b").is_some());
    machine.client.sync(vec!["b".into()]).unwrap();
    assert_eq!(machine.client.containers().unwrap(), ["b"]);
}

#[test]
fn it_ends_when_nobody_needs_it() {
    let mut machine = Machine::new();
    machine.client.put(&container("a", "front", "10.1.0.2", &["a"]), None, &[]).unwrap();
    machine.again();
    assert!(!machine.is_over(), "it has a container");
    machine.client.remove("a").unwrap();
    assert!(!machine.is_over(), "it has a daemon");
    let pid = machine.pid();
    let directory = tempfile::tempdir().unwrap();
    machine.client = Client::start(&program(), &[], directory.path()).unwrap();
    eventually("it is over", || machine.pid() != pid);
    machine.again();
    drop(directory);
}

#[test]
fn it_has_no_rights() {
    let machine = Machine::new();
    let status = std::fs::read_to_string(format!("/proc/{}/status", machine.pid().unwrap())).unwrap();
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "Gid:\t65534\t65534\t65534\t65534",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
}

#[test]
fn there_is_one_for_each_directory() {
    let machine = Machine::new();
    let second = Command::new(program()).arg("--directory").arg(machine.directory.path()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another one serves"));
    assert!(Command::new(program()).output().unwrap().status.code() == Some(2));
}

#[test]
fn what_was_not_sent_is_an_error_and_nothing_is_lost_by_it() {
    let machine = Machine::new();
    let ports = vec![port("tcp/1", Protocol::Tcp, "127.0.0.1:1".parse().unwrap())];
    let wrong = Container { id: "a".into(), ports, ..Container::default() };
    // A socket of another kind than its port.
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let told = machine.client.put(&wrong, None, &[("tcp/1", socket.as_fd())]);
    drop(told);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    machine.client.put(&wrong, None, &[("tcp/1", listener.as_fd())]).unwrap();
    let huge = Container { id: "x".repeat(1 << 20), ..Container::default() };
    assert!(machine.client.put(&huge, None, &[]).is_err());
    assert_eq!(machine.client.containers().unwrap(), ["a"]);
}
