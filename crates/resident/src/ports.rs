//! Published ports, as far as they arrive here: passed on to the container, connections and datagrams.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A container that does not accept by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A client of datagrams that is silent for so long is forgotten.
const SESSION_IDLE: Duration = Duration::from_secs(90);
/// Connections and clients of one port at one time.
const CONNECTIONS_MAX: usize = 1024;
/// Datagrams that wait for a client's session.
const WAITING_MAX: usize = 64;
const DATAGRAM_MAX: usize = 65_535;

/// Passes connections on until it is dropped; they go with it.
pub(crate) async fn forward_tcp(listener: TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            // More are hung up at once, which tells the client more than silence.
            Ok((client, _)) if connections.len() < CONNECTIONS_MAX => {
                connections.spawn_local(async move { drop(pass_on(client, target).await) });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn pass_on(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = match timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
        Ok(Ok(server)) => server,
        _ => {
            // As the kernel does where nobody listens.
            return client.set_zero_linger();
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Passes datagrams on until it is dropped.
pub(crate) async fn forward_udp(socket: UdpSocket, target: SocketAddr) {
    let socket = Rc::new(socket);
    let mut sessions: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // An error belongs to an earlier datagram: a client that is not there any more.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        while tasks.try_join_next().is_some() {}
        sessions.retain(|_, session| !session.is_closed());
        if !sessions.contains_key(&client) && sessions.len() < CONNECTIONS_MAX {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            sessions.insert(client, sender);
            let socket = socket.clone();
            tasks.spawn_local(async move { drop(converse(&socket, client, target, receiver).await) });
        }
        if let Some(session) = sessions.get(&client) {
            // Datagrams may be lost; a slow container loses them here.
            drop(session.try_send(buffer[..length].to_vec()));
        }
    }
}

/// One client's datagrams, and the container's answers to it.
async fn converse(
    socket: &UdpSocket,
    client: SocketAddr,
    target: SocketAddr,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let server = UdpSocket::bind(any).await?;
    server.connect(target).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let step = async {
            tokio::select! {
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => server.send(&datagram).await.map(|_| ()),
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                },
                received = server.recv(&mut buffer) => {
                    let length = received?;
                    socket.send_to(&buffer[..length], client).await.map(|_| ())
                }
            }
        };
        match timeout(SESSION_IDLE, step).await {
            Ok(Ok(())) => {}
            // Nobody listens in the container; it may later.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(Err(error)) => return Err(error),
            Err(_idle) => return Ok(()),
        }
    }
}
