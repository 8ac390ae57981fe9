//! Collectors of logs: syslog, fluentd and journald get every entry, and one that is down stops nobody.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use api::shim::log_remote::Format;
use api::shim::{CreateOptions, LogField, LogOptions, LogRemote};

use crate::fixture::*;

/// Nothing here takes as long; a test that would wait for ever ends with it.
const PATIENCE: Duration = Duration::from_secs(60);

fn remote(format: Format, address: String) -> LogRemote {
    LogRemote {
        format: format.into(),
        address,
        tag: "the-tag".into(),
        facility: 3,
        hostname: "host".into(),
        buffer_bytes: 1 << 20,
        retry_wait_ms: 10,
        fields: vec![LogField { name: "CONTAINER_NAME".into(), value: "web".into() }],
        ..LogRemote::default()
    }
}

fn collected(script: &str, remote: LogRemote) -> Shim {
    let mut bundle = Bundle::new();
    bundle.process().args = shell(script);
    let log = LogOptions { remote: Some(remote), ..log(&bundle, 0, 1) };
    Shim::create(bundle, &CreateOptions { log: Some(log), ..CreateOptions::default() }, false)
}

/// What one connection brings until it is closed.
fn read_all(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    text
}

#[test]
fn a_stream_gets_every_line_and_so_does_the_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let reader = std::thread::spawn(move || read_all(&listener));
    let mut shim = collected("seq 1 20000; echo no >&2", remote(Format::SyslogRfc5424, address));
    assert_eq!(shim.run(), 0);
    assert_eq!(shim.log().len(), 20_001);
    shim.finish();
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("<30>1 ")).collect();
    assert_eq!(lines.len(), 20_000);
    assert!(lines.iter().zip(1..).all(|(line, number)| line.ends_with(&format!(" the-tag - {number}"))));
    assert!(text.lines().any(|line| line.starts_with("<27>1 ") && line.ends_with(" - no")));
}

#[test]
fn datagrams_go_out_whoever_reads_them() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let mut shim = collected("echo one; echo two", remote(Format::SyslogUnix, address));
    assert_eq!(shim.run(), 0);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for text in ["one", "two"] {
        let mut datagram = [0; 1000];
        let length = socket.recv(&mut datagram).unwrap();
        let datagram = String::from_utf8_lossy(&datagram[..length]).into_owned();
        assert!(datagram.starts_with("<30>") && datagram.ends_with(&format!("]: {text}\n")), "{datagram}");
    }
    // A port where nobody listens: every other datagram is answered with an error, which stops nothing.
    drop(socket);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut shim = collected("seq 1 1000", remote(Format::SyslogUnix, format!("udp://{nobody}")));
    assert_eq!(shim.run(), 0);
    assert_eq!(shim.log().len(), 1000);
}

#[test]
fn journald_gets_a_datagram_for_each_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = format!("unixgram://{}", path.display());
    let mut shim = collected("seq 1 500", remote(Format::Journald, address));
    let reader = std::thread::spawn(move || {
        let mut datagram = vec![0; 64 << 10];
        (1..=500).all(|number| {
            let length = socket.recv(&mut datagram).unwrap();
            let text = String::from_utf8_lossy(&datagram[..length]);
            text.starts_with("CONTAINER_NAME=web\nPRIORITY=6\n")
                && text.ends_with(&format!("MESSAGE={number}\n"))
        })
    });
    assert_eq!(shim.run(), 0);
    assert!(reader.join().unwrap(), "the socket's queue is shorter than what was printed");
}

/// Answers each message whose chunk it finds; what it got, as text.
fn acknowledge(stream: &mut TcpStream, messages: usize) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    for _ in 0..messages {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).unwrap();
        let chunk = piece[length - 64..length].to_vec();
        text += &String::from_utf8_lossy(&piece[..length]);
        stream.write_all(b"\x81\xa3ack\xd9\x40").unwrap();
        stream.write_all(&chunk).unwrap();
    }
    text
}

#[test]
fn what_is_not_acknowledged_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut shim = collected(
        "echo one; echo two; echo three",
        LogRemote { acknowledged: true, ..remote(Format::Fluentd, address) },
    );
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let first = acknowledge(&mut stream, 1);
        // The second one is read, and the collector dies before it says so.
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).unwrap();
        assert!(String::from_utf8_lossy(&piece[..length]).contains("log\u{fffd}two"));
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        first + &acknowledge(&mut stream, 2)
    });
    assert_eq!(shim.run(), 0);
    let text = reader.join().unwrap();
    for word in ["one", "two", "three"] {
        assert_eq!(text.matches(word).count(), 1, "{word} in {text}");
    }
}

#[test]
fn a_collector_that_takes_nothing_drops_entries_and_not_the_container() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let remote = LogRemote { drops: true, buffer_bytes: 10 << 10, ..remote(Format::SyslogUnix, address) };
    // More than the kernel's buffers take of a connection that nobody reads.
    let mut shim = collected("head -c 20000000 /dev/zero | tr '\\0' x | fold -w 1000", remote);
    assert_eq!(shim.run(), 0);
    assert_eq!(shim.log().len(), 20_000, "the file has it all");
    // The collector lives again, and gets what waits: whole messages.
    let reader = std::thread::spawn(move || read_all(&listener));
    shim.finish();
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    let count = text.lines().count();
    assert!(count > 10 && count < 20_000, "{count} messages");
    assert!(text.lines().all(|line| line.starts_with("<30>") && line.len() > 1000));
}

#[test]
fn a_container_does_not_start_without_its_collector_unless_it_may() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bundle = Bundle::new();
    bundle.process().args = shell("echo x");
    let mut shim = Shim::spare(bundle);
    shim.bind();
    let options = |later: bool| {
        let remote =
            LogRemote { connects_later: later, ..remote(Format::Fluentd, format!("tcp://{nobody}")) };
        let log = LogOptions { remote: Some(remote), ..log(&shim.bundle, 0, 1) };
        CreateOptions { log: Some(log), ..CreateOptions::default() }
    };
    let (strict, lenient) = (options(false), options(true));
    let error = shim.try_create(&strict, false).unwrap_err();
    let want = format!("failed to initialize logging driver: dial tcp {nobody}: Connection refused");
    assert!(error.to_string().contains(&want), "{error}");
    shim.try_create(&lenient, false).unwrap();
    assert_eq!(shim.run(), 0);
    assert_eq!(shim.log().len(), 1);
}
