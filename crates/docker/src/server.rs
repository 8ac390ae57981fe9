//! The listener: connections, their bounds and their end.
//!
//! Every request is served by a task of its own. So a client that leaves does not stop an operation half way (its
//! answer is lost, its effect is whole), and a handler that panics answers with an error and takes nothing along.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::peer::Peer;
use crate::reply::{self, Body};
use crate::{error, router};

/// More than any client opens; each costs some tens of kilobytes.
const MAX_CONNECTIONS: usize = 1024;
/// Request line and headers, and the pieces that bodies are read in. Filters travel in the request line.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// From the first byte of a connection, or the end of the last answer, to the end of the next request's headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// When the door closes, answers that are under way may end; streams are cut before.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// From the end of a client to what it gives back.
const CALM: Duration = Duration::from_secs(1);
/// Out of descriptors: nothing but waiting helps.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\
    Content-Length: 38\r\n\r\n{\"message\":\"too many connections\"}   \n";

/// Serves the Docker Engine API until `stopping` turns true or its sender is dropped.
pub async fn serve(listener: UnixListener, engine: Arc<Engine>, mut stopping: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let leaving = Arc::new(Notify::new());
    let giving = tokio::spawn(give_back(leaving.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => match slots.clone().try_acquire_owned() {
                Ok(permit) => {
                    let peer = |socket| Peer::new(socket, stopping.clone(), leaving.clone(), permit);
                    match stream_fd(&stream).map(peer) {
                        Ok(peer) => {
                            connections.spawn(connection(
                                stream,
                                engine.clone(),
                                Arc::new(peer),
                                stopping.clone(),
                            ));
                        }
                        Err(error) => tracing::warn!(%error, "a connection could not be kept"),
                    }
                }
                Err(_) => {
                    tracing::warn!(limit = MAX_CONNECTIONS, "too many connections");
                    // The buffer of a fresh socket takes it; a client that does not read has its own problem.
                    drop(stream.try_write(FULL));
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    giving.abort();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_GRACE, ended).await.is_err() {
        tracing::warn!("requests were cut off");
    }
}

/// Gives memory back when clients have left, once for those that leave together.
async fn give_back(leaving: Arc<Notify>) {
    loop {
        leaving.notified().await;
        tokio::time::sleep(CALM).await;
        // A failure is the end of the runtime.
        drop(tokio::task::spawn_blocking(linux::memory::give_back).await);
    }
}

/// Completes when the door closes; a sender that is dropped is the daemon's end.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

fn stream_fd(stream: &UnixStream) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;
    stream.as_fd().try_clone_to_owned()
}

async fn connection(
    stream: UnixStream,
    engine: Arc<Engine>,
    peer: Arc<Peer>,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer(request, engine.clone(), peer.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    engine: Arc<Engine>,
    peer: Arc<Peer>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let served = tokio::spawn(router::dispatch(request, engine, peer)).await;
    let served = served.unwrap_or_else(|failure| {
        tracing::error!(request = line, %failure, "a request's handler panicked");
        Err(error::Error::Panicked)
    });
    let mut reply = served.unwrap_or_else(|error| {
        if error.status().is_server_error() {
            tracing::warn!(request = line, status = error.status().as_u16(), %error, "refused");
        }
        reply::error(&error)
    });
    tracing::debug!(request = line, status = reply.status().as_u16(), "served");
    router::sign(reply.headers_mut());
    Ok(reply)
}
