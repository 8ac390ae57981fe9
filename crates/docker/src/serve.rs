//! Connections: accepted, served, and let go.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::answer::Body;
use crate::request::Request;
use crate::{API_VERSION, route};

/// Clients at one time; each costs a descriptor and some memory. More wait until one goes.
const MAX_CONNECTIONS: usize = 1024;

/// A client that does not finish its request's head in this time is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// After a failed accept (no descriptors left) others get a moment to close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` becomes true. Streams that are open then end with the process.
pub async fn serve(listener: UnixListener, engine: Arc<Engine>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let engine = Arc::clone(&engine);
                tokio::spawn(async move {
                    serve_connection(stream, engine).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, engine: Arc<Engine>) {
    let service = service_fn(move |http| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(answer(engine, http).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        // A client may close its half and still wait for the answer (`attach` does).
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn answer(engine: Arc<Engine>, http: HttpRequest<Incoming>) -> Response<Body> {
    let (method, path) = (http.method().clone(), http.uri().path().to_owned());
    let answered = match Request::read(engine, http) {
        Ok(request) => route::route(request).await,
        Err(failure) => Err(failure),
    };
    let mut response = answered.unwrap_or_else(|failure| {
        tracing::debug!(%method, path, status = failure.status.as_u16(), message = failure.message, "refused");
        failure.into_response()
    });
    if method == Method::HEAD {
        *response.body_mut() = Body::default();
    }
    let version = HeaderValue::from_str(&format!("{}.{}", API_VERSION.0, API_VERSION.1));
    let headers = response.headers_mut();
    headers.insert("api-version", version.expect("digits and a dot"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(
        "server",
        HeaderValue::from_static(concat!("Corten/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}
