//! Answers the questions of one container, which come in on the two sockets that are in its namespace.
//!
//! What no container is called is asked of the servers that the container was given, in their order, each with its own time-out. Every question
//! that is passed on has a socket and an id of its own, so that nobody else's answer can be taken for it.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::book::{Book, Found};
use crate::dns::{self, Code, Kind, Question};
use crate::protocol::Resolver;

/// A server that has not answered by then is taken for dead; resolvers of containers wait five seconds.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(2000);
/// A client that says nothing for so long is hung up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one container that are being passed on.
const PENDING_MAX: usize = 256;
/// Connections of one container.
const CONNECTIONS_MAX: usize = 32;
/// The longest message of UDP with any extension, and of TCP.
const MESSAGE_MAX: usize = 65_535;

/// Answers one container until it is dropped.
pub(crate) struct Answerer {
    pub(crate) container: String,
    pub(crate) book: Rc<RefCell<Book>>,
}

impl Answerer {
    /// Serves datagrams.
    pub(crate) async fn serve_udp(self: Rc<Self>, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut tasks = JoinSet::new();
        let mut buffer = vec![0; MESSAGE_MAX];
        loop {
            while tasks.try_join_next().is_some() {}
            // An error of an earlier answer (the client has closed its socket) concerns nobody.
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
            let message = &buffer[..length];
            let question = match Question::parse(message) {
                Ok(question) => question,
                Err(Some(id)) => {
                    let _gone = socket.send_to(&dns::malformed(id), client).await;
                    continue;
                }
                Err(None) => continue,
            };
            if let Some(answer) = self.own_answer(&question) {
                let _gone = socket.send_to(&answer, client).await;
                continue;
            }
            // A container that asks faster than its servers answer waits, and loses what is too much.
            if tasks.len() >= PENDING_MAX {
                continue;
            }
            let (answerer, socket, message) = (self.clone(), socket.clone(), message.to_vec());
            tasks.spawn_local(async move {
                let answer = answerer.ask_by_udp(&question, message).await;
                let _gone = socket.send_to(&answer, client).await;
            });
        }
    }

    /// Serves connections.
    pub(crate) async fn serve_tcp(self: Rc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = listener.accept().await;
            while tasks.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) if tasks.len() < CONNECTIONS_MAX => {
                    let answerer = self.clone();
                    tasks.spawn_local(async move { drop(answerer.converse(stream).await) });
                }
                Ok(_) => {}
                // No descriptors are left: others may come free.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let message = timeout(IDLE_TIMEOUT, read_message(&mut stream)).await??;
            let answer = match Question::parse(&message) {
                Ok(question) => match self.own_answer(&question) {
                    Some(answer) => answer,
                    None => self.ask_by_tcp(&question, message).await,
                },
                Err(Some(id)) => dns::malformed(id),
                Err(None) => return Ok(()),
            };
            timeout(IDLE_TIMEOUT, write_message(&mut stream, &answer)).await??;
        }
    }

    /// What is known here. None: others have to be asked.
    fn own_answer(&self, question: &Question) -> Option<Vec<u8>> {
        let book = self.book.borrow();
        match question.kind {
            Kind::Pointer(address) => {
                book.find_address(&self.container, address).map(|name| question.pointer(&name))
            }
            _ => match book.find(&self.container, &question.name) {
                Found::Addresses(mut addresses) => {
                    // Several containers of one name take turns.
                    let turn = usize::from(question.id) % addresses.len().max(1);
                    addresses.rotate_left(turn);
                    Some(question.addresses(&addresses))
                }
                Found::Nothing => None,
            },
        }
    }

    fn upstreams(&self) -> Option<Vec<SocketAddr>> {
        let book = self.book.borrow();
        let resolver: Option<Resolver> = book.get(&self.container)?.resolver.clone();
        Some(resolver?.upstreams)
    }

    async fn ask_by_udp(&self, question: &Question, message: Vec<u8>) -> Vec<u8> {
        self.ask(question, message, async |upstream, message, id| {
            udp_exchange(upstream, message, question, id).await
        })
        .await
    }

    async fn ask_by_tcp(&self, question: &Question, message: Vec<u8>) -> Vec<u8> {
        self.ask(question, message, async |upstream, message, id| {
            let mut stream = TcpStream::connect(upstream).await?;
            write_message(&mut stream, message).await?;
            let answer = read_message(&mut stream).await?;
            match question.is_answered_by(&answer, id) {
                true => Ok(answer),
                false => Err(io::ErrorKind::InvalidData.into()),
            }
        })
        .await
    }

    /// The first answer of a server, with the client's id.
    async fn ask(
        &self,
        question: &Question,
        mut message: Vec<u8>,
        exchange: impl AsyncFn(SocketAddr, &[u8], u16) -> io::Result<Vec<u8>>,
    ) -> Vec<u8> {
        let upstreams = self.upstreams().unwrap_or_default();
        if upstreams.is_empty() {
            // A network without a way out has no names but its own.
            return question.empty(Code::NoSuchName);
        }
        for upstream in upstreams {
            let id = random_id();
            dns::set_id(&mut message, id);
            if let Ok(Ok(mut answer)) = timeout(UPSTREAM_TIMEOUT, exchange(upstream, &message, id)).await {
                dns::set_id(&mut answer, question.id);
                return answer;
            }
        }
        question.empty(Code::ServerFailed)
    }
}

async fn udp_exchange(
    upstream: SocketAddr,
    message: &[u8],
    question: &Question,
    id: u16,
) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // Only this server's datagrams arrive.
    socket.connect(upstream).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if question.is_answered_by(&buffer[..length], id) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // The pool is ready since long, and two bytes are never cut short.
    let _whole = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(bytes)
}
