//! The process: one daemon at a time tells it things; containers and clients are served whether there is one or not.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::process::Uid;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, LocalSet};

use crate::book::Book;
use crate::ports;
use crate::protocol::{Answer, Container, DESCRIPTORS_MAX, PACKET_MAX, Port, Protocol, Request, VERSION};
use crate::resolver::Answerer;

/// What is served for a container.
#[derive(Default)]
struct Served {
    resolver: Vec<JoinHandle<()>>,
    /// By the port's key.
    ports: HashMap<String, (Port, JoinHandle<()>)>,
}

/// Everything that the process has.
struct Server {
    book: Rc<RefCell<Book>>,
    served: HashMap<String, Served>,
}

/// Whether the process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Serve,
    End,
}

/// Serves until there is neither a daemon nor a container.
pub(crate) async fn serve(listener: OwnedFd, owner: Uid) -> io::Result<()> {
    LocalSet::new().run_until(serve_locally(listener, owner)).await
}

async fn serve_locally(listener: OwnedFd, owner: Uid) -> io::Result<()> {
    let listener = asynchronous(listener)?;
    let mut server = Server { book: Rc::default(), served: HashMap::new() };
    let mut daemon = accept(&listener, owner).await?;
    loop {
        tokio::select! {
            // A daemon that comes takes the place of the one before.
            newer = accept(&listener, owner) => daemon = newer?,
            request = receive(&daemon) => match request {
                Ok((request, descriptors)) => {
                    let (answer, next) = server.handle(request, descriptors).await;
                    // A daemon that has gone does not want it.
                    drop(send(&daemon, &answer).await);
                    if next == Next::End {
                        return Ok(());
                    }
                }
                Err(_gone) if server.served.is_empty() => return Ok(()),
                Err(_gone) => daemon = accept(&listener, owner).await?,
            },
        }
    }
}

impl Server {
    async fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> (Answer, Next) {
        let mut next = Next::Serve;
        let done = match request {
            Request::Hello { .. } => Ok(()),
            Request::Put { container, has_resolver, sockets } => {
                self.put(container, has_resolver, &sockets, descriptors).await
            }
            Request::Remove { container } => {
                self.remove(&container).await;
                Ok(())
            }
            Request::Sync { containers } => {
                let kept: HashSet<String> = containers.into_iter().collect();
                for id in self.served.keys().filter(|id| !kept.contains(*id)).cloned().collect::<Vec<_>>() {
                    self.remove(&id).await;
                }
                Ok(())
            }
            Request::End => {
                next = Next::End;
                Ok(())
            }
        };
        let error = done.err().map_or(String::new(), |error| error.to_string());
        (Answer { version: VERSION, containers: self.book.borrow().ids(), error }, next)
    }

    async fn put(
        &mut self,
        container: Container,
        has_resolver: bool,
        sockets: &[String],
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
        let served = self.served.entry(container.id.clone()).or_default();
        if has_resolver {
            stop(served.resolver.drain(..)).await;
            let answerer = Rc::new(Answerer { container: container.id.clone(), book: self.book.clone() });
            let udp = UdpSocket::from_std(nonblocking(next()?)?.into())?;
            let tcp = TcpListener::from_std(nonblocking(next()?)?.into())?;
            served.resolver = vec![
                tokio::task::spawn_local(answerer.clone().serve_udp(udp)),
                tokio::task::spawn_local(answerer.serve_tcp(tcp)),
            ];
        }
        let wanted: HashMap<&str, &Port> =
            container.ports.iter().map(|port| (port.key.as_str(), port)).collect();
        let is_kept = |key: &str, port: &Port| wanted.get(key).is_some_and(|wanted| *wanted == port);
        let gone: Vec<String> = served
            .ports
            .iter()
            .filter(|(key, (port, _))| !is_kept(key, port))
            .map(|(key, _)| key.clone())
            .collect();
        stop(gone.iter().filter_map(|key| served.ports.remove(key)).map(|(_, task)| task)).await;
        for key in sockets {
            let socket = nonblocking(next()?)?;
            let Some(port) = wanted.get(key.as_str()) else { continue };
            let task = match port.protocol {
                Protocol::Tcp => {
                    let listener = TcpListener::from_std(socket.into())?;
                    tokio::task::spawn_local(ports::forward_tcp(listener, port.target))
                }
                Protocol::Udp => {
                    let socket = UdpSocket::from_std(socket.into())?;
                    tokio::task::spawn_local(ports::forward_udp(socket, port.target))
                }
            };
            if let Some((_, earlier)) = served.ports.insert(key.clone(), ((*port).clone(), task)) {
                stop([earlier]).await;
            }
        }
        self.book.borrow_mut().put(container);
        Ok(())
    }

    async fn remove(&mut self, id: &str) {
        self.book.borrow_mut().remove(id);
        if let Some(served) = self.served.remove(id) {
            let ports = served.ports.into_values().map(|(_, task)| task);
            stop(served.resolver.into_iter().chain(ports)).await;
        }
    }
}

/// Ends tasks and waits until they have let go of their sockets.
async fn stop(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        drop(task.await);
    }
}

fn asynchronous(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(deprecated, reason = "its safe twin; an owned descriptor keeps what the unsafe one asks")]
    AsyncFd::new(socket)
}

fn nonblocking(socket: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

async fn accept(listener: &AsyncFd<OwnedFd>, owner: Uid) -> io::Result<AsyncFd<OwnedFd>> {
    loop {
        let mut ready = listener.readable().await?;
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let accepted = ready.try_io(|listener| Ok(rustix::net::accept_with(listener.get_ref(), flags)?));
        let Ok(Ok(socket)) = accepted else { continue };
        let peer = linux::socket::peer(socket.as_fd())?;
        if peer.uid == owner.as_raw() || peer.uid == 0 {
            return asynchronous(socket);
        }
    }
}

async fn receive(daemon: &AsyncFd<OwnedFd>) -> io::Result<(Request, Vec<OwnedFd>)> {
    let (packet, mut descriptors) = receive_packet(daemon).await?;
    let request: Request = serde_json::from_slice(&packet)?;
    let expected = request.descriptors();
    if expected > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while descriptors.len() < expected {
        let (_, more) = receive_packet(daemon).await?;
        if more.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        descriptors.extend(more);
    }
    Ok((request, descriptors))
}

async fn receive_packet(daemon: &AsyncFd<OwnedFd>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    loop {
        let mut ready = daemon.readable().await?;
        let received = ready.try_io(|daemon| {
            let mut buffer = vec![0; PACKET_MAX];
            match linux::socket::receive(daemon.get_ref().as_fd(), &mut buffer) {
                Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((length, descriptors)) => {
                    buffer.truncate(length);
                    Ok((buffer, descriptors))
                }
                Err(errno) => Err(errno.into()),
            }
        });
        match received {
            Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
            Ok(received) => return received,
            Err(_would_block) => {}
        }
    }
}

async fn send(daemon: &AsyncFd<OwnedFd>, answer: &Answer) -> io::Result<()> {
    let packet = serde_json::to_vec(answer).expect("an answer has only text keys");
    loop {
        let mut ready = daemon.writable().await?;
        let sent =
            ready.try_io(|daemon| Ok(linux::socket::send(daemon.get_ref().as_fd(), &packet, &[]).map(drop)?));
        if let Ok(sent) = sent {
            return sent;
        }
    }
}
