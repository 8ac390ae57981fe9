//! A process of its own for each test, in a network namespace of the test's own, and containers beside it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use network::namespace::Namespace;
use resident::{Client, Container, Membership, Port, Protocol, Resolver};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A machine with a process that starts when it is needed.
pub(crate) struct Machine {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) client: Client,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        linux::unshare::network().unwrap();
        network::link::Links::open().unwrap().raise("lo").unwrap();
        let directory = tempfile::Builder::new().prefix("corten-net-").tempdir().unwrap();
        let client = Client::start(&program(), &[], directory.path()).unwrap();
        Machine { directory, client }
    }

    pub(crate) fn again(&mut self) {
        self.client = Client::start(&program(), &[], self.directory.path()).unwrap();
    }

    /// The process, by the socket that it listens at.
    pub(crate) fn pid(&self) -> Option<u32> {
        let wanted = self.directory.path().display().to_string();
        std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            String::from_utf8_lossy(&line).contains(&wanted).then_some(pid)
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pid().is_none()
    }
}

/// Cargo builds examples before tests, unless it is told to build one test only.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/net");
    assert!(path.exists(), "{} is missing: run `cargo build -p resident --examples`", path.display());
    path
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing of a test may stay, also not of one that failed.
        if let Some(client) = Client::find(self.directory.path()) {
            drop(client.sync(Vec::new()));
        }
        if let (true, Some(pid)) = (std::thread::panicking(), self.pid()) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A namespace whose questions go to the process.
pub(crate) struct Asker {
    namespace: Namespace,
    server: SocketAddr,
}

pub(crate) fn container(id: &str, network: &str, address: &str, names: &[&str]) -> Container {
    let membership = Membership {
        network: format!("id-{network}"),
        domain: network.into(),
        addresses: vec![address.parse().unwrap()],
        names: names.iter().map(|name| (*name).into()).collect(),
        links: Vec::new(),
    };
    Container { id: id.into(), memberships: vec![membership], ..Container::default() }
}

/// Puts a container that asks, with these servers for what is not known.
pub(crate) fn put_asker(machine: &Machine, mut container: Container, upstreams: &[SocketAddr]) -> Asker {
    let namespace = Namespace::new([]).unwrap();
    let (udp, tcp) = namespace
        .run(|| {
            let udp = UdpSocket::bind("127.0.0.11:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).unwrap();
            Ok((udp, tcp))
        })
        .unwrap();
    let server = udp.local_addr().unwrap();
    container.resolver = Some(Resolver { upstreams: upstreams.to_vec() });
    machine.client.put(&container, Some((udp.as_fd(), tcp.as_fd())), &[]).unwrap();
    Asker { namespace, server }
}

impl Asker {
    /// Sends a question by UDP and returns the answer, if one comes.
    pub(crate) fn ask(&self, message: &[u8]) -> Option<Vec<u8>> {
        let ask = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(message, self.server)?;
            let mut buffer = vec![0; 4096];
            let length = socket.recv(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        self.namespace.run(|| Ok(io::Result::ok(ask()))).unwrap()
    }

    pub(crate) fn ask_by_tcp(&self, message: &[u8]) -> Option<Vec<u8>> {
        use std::io::{Read, Write};
        let ask = || {
            let mut stream = std::net::TcpStream::connect(self.server)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes())?;
            stream.write_all(message)?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut answer = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        self.namespace.run(|| Ok(io::Result::ok(ask()))).unwrap()
    }

    /// The addresses of a name; None: there is no such name, or no answer.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        addresses(&self.ask(&query(7, name))?)
    }
}

/// A question for IPv4 addresses.
pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message: Vec<u8> = [id, 0x0100, 1, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    for label in name.split('.') {
        message.push(label.len().try_into().unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// An answer to `question` with one address.
pub(crate) fn reply(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut message = question.to_vec();
    (message[2], message[3], message[7]) = (0x81, 0x80, 1);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address);
    message
}

/// The addresses at the end of an answer; None: an error.
pub(crate) fn addresses(answer: &[u8]) -> Option<Vec<IpAddr>> {
    assert_eq!(answer[2] & 0x80, 0x80);
    let count = usize::from(answer[7]);
    let records = &answer[answer.len() - 16 * count..];
    (answer[3] & 0xf == 0).then(|| {
        records.chunks(16).map(|record| IpAddr::from(<[u8; 4]>::try_from(&record[12..]).unwrap())).collect()
    })
}

pub(crate) fn port(key: &str, protocol: Protocol, target: SocketAddr) -> Port {
    Port { key: key.into(), protocol, target }
}

/// Waits for what another process does.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_true() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}
