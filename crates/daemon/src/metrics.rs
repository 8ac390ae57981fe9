//! `/v1/metrics` of containerd: Prometheus' text over HTTP, to whoever asks at the address.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use containerd::Door;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

const PATH: &str = "/v1/metrics";
/// Of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Each answer asks every shim.
const CONNECTIONS_MAX: usize = 16;
/// Who connects and says nothing does not keep others out.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Out of descriptors: others must end first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

static CONNECTIONS: Semaphore = Semaphore::const_new(CONNECTIONS_MAX);

/// Serves until `stopping` says so.
pub(crate) async fn serve(listener: TcpListener, door: Door, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = accept(listener, door) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn accept(listener: TcpListener, door: Door) {
    loop {
        let permit = CONNECTIONS.acquire().await.expect("it is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let door = door.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&door, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Who hangs up does not want to be told.
            drop(connection.await);
            drop(permit);
        });
    }
}

async fn answer(door: &Door, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_known = request.uri().path() == PATH;
    let mut answer = Response::new(Full::default());
    match (request.method(), is_known) {
        (&Method::GET | &Method::HEAD, true) => {
            answer.headers_mut().insert(CONTENT_TYPE, TEXT.parse().expect("it is a header's value"));
            *answer.body_mut() = Full::from(containerd::metrics(door).await);
        }
        (_, true) => *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
        (_, false) => *answer.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(answer)
}
