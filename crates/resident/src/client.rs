//! The daemon's side: starts the process or finds it, and tells it things. Blocks, but not for long.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use linux::socket::MAX_DESCRIPTORS;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Result};
use crate::protocol::{Answer, Container, PACKET_MAX, Request, VERSION};

/// Every answer comes at once; a process that has none after this time hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to `corten-net`.
#[derive(Debug)]
pub struct Client {
    socket: Mutex<OwnedFd>,
}

/// What a container's sockets are for, beside the socket.
pub(crate) type PortSocket<'a> = (&'a str, BorrowedFd<'a>);

impl Client {
    /// Connects to the process of `directory`; starts it if there is none, or one that speaks another version.
    pub fn start(program: &Path, arguments: &[String], directory: &Path) -> Result<Client> {
        let path = directory.join("control.sock");
        if let Ok(client) = Client::connect(&path) {
            if client.hello()?.version == VERSION {
                return Ok(client);
            }
            // What it holds is told to the new one.
            client.exchange(&Request::End, &[])?;
        }
        spawn(program, arguments, directory)?;
        let client = Client::connect(&path).map_err(|errno| Error::Connect { path, source: errno.into() })?;
        client.hello()?;
        Ok(client)
    }

    /// Connects to the process of `directory`, if there is one.
    pub fn find(directory: &Path) -> Option<Client> {
        let client = Client::connect(&directory.join("control.sock")).ok()?;
        (client.hello().ok()?.version == VERSION).then_some(client)
    }

    /// The containers that it knows.
    pub fn containers(&self) -> Result<Vec<String>> {
        Ok(self.hello()?.containers)
    }

    /// Tells everything about a container, with the sockets that it does not hold yet.
    pub fn put(
        &self,
        container: &Container,
        resolver: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
        ports: &[PortSocket<'_>],
    ) -> Result<()> {
        let mut descriptors: Vec<BorrowedFd<'_>> = resolver.map_or(Vec::new(), |(udp, tcp)| vec![udp, tcp]);
        descriptors.extend(ports.iter().map(|(_, socket)| *socket));
        let request = Request::Put {
            container: container.clone(),
            has_resolver: resolver.is_some(),
            sockets: ports.iter().map(|(key, _)| (*key).to_owned()).collect(),
        };
        self.exchange(&request, &descriptors).map(drop)
    }

    /// Forgets a container; its ports are free when this returns.
    pub fn remove(&self, container: &str) -> Result<()> {
        self.exchange(&Request::Remove { container: container.to_owned() }, &[]).map(drop)
    }

    /// Forgets all containers but these.
    pub fn sync(&self, containers: Vec<String>) -> Result<()> {
        self.exchange(&Request::Sync { containers }, &[]).map(drop)
    }

    /// Something to wait for: it becomes readable, without a request under way, when the process is gone.
    pub fn duplicate(&self) -> std::io::Result<OwnedFd> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).try_clone()
    }

    fn hello(&self) -> Result<Answer> {
        self.exchange(&Request::Hello { version: VERSION }, &[])
    }

    fn connect(path: &Path) -> rustix::io::Result<Client> {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for kind in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, kind, Some(PATIENCE))?;
        }
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Client { socket: Mutex::new(socket) })
    }

    fn exchange(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer> {
        let packet = serde_json::to_vec(request).expect("a request has only text keys");
        if packet.len() > PACKET_MAX {
            return Err(Error::TooLarge { max: PACKET_MAX });
        }
        let talk = |errno: Errno| Error::Talk(errno.into());
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, others) = descriptors.split_at(descriptors.len().min(MAX_DESCRIPTORS));
        linux::socket::send(socket.as_fd(), &packet, first).map_err(talk)?;
        for chunk in others.chunks(MAX_DESCRIPTORS) {
            linux::socket::send(socket.as_fd(), b"d", chunk).map_err(talk)?;
        }
        let mut buffer = vec![0; PACKET_MAX];
        let length = loop {
            match linux::socket::receive(socket.as_fd(), &mut buffer) {
                Err(Errno::INTR) => {}
                received => break received.map_err(talk)?.0,
            }
        };
        if length == 0 {
            return Err(Error::Talk(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: Answer = serde_json::from_slice(&buffer[..length]).map_err(Error::Answer)?;
        match answer.error.as_str() {
            "" => Ok(answer),
            error => Err(Error::Refused(error.to_owned())),
        }
    }
}

fn spawn(program: &Path, arguments: &[String], directory: &Path) -> Result<()> {
    let failed = |source| Error::Start { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .arg("--directory")
        .arg(directory)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it was asked for");
    BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    // What was started leaves at once; the process that goes on is its child.
    let output = child.wait_with_output().map_err(failed)?;
    if line != "ready\n" {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(std::io::Error::other(said)));
    }
    Ok(())
}
