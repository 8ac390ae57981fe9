//! Connections to hosts: TCP, through a proxy if there is one, then TLS.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::client::Body;
use super::failure::Failure;
use super::hosts::{Scheme, Tls, Written};
use super::proxy::{Proxies, Proxy};
use crate::tls::{self, Trust};

/// A proxy's answer to `CONNECT` is some lines.
const PROXY_ANSWER_MAX: usize = 16 << 10;

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) dial_timeout: Duration,
}

/// Makes connections.
#[derive(Debug, Default)]
pub(super) struct Connector {
    /// By what they were made of, and when that was written: a corrected file counts from the next connection on.
    configurations: Mutex<HashMap<Tls, (Written, Arc<ClientConfig>)>>,
    /// Whether a host that may do without TLS speaks it.
    schemes: Mutex<HashMap<(String, u16), Scheme>>,
}

/// A connection, and how requests are written on it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    pub(super) is_tls: bool,
    /// Requests name the whole URL, and carry this.
    pub(super) by_proxy: Option<Option<String>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connector {
    /// Connects to a host.
    pub(super) async fn connect(&self, target: &Target, proxies: &Proxies) -> Result<Connection, Failure> {
        let key = (target.host.clone(), target.port);
        let known = || self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        // What is remembered of a host that may do without TLS says nothing to who insists on it.
        let scheme = match target.scheme {
            Scheme::Either => known().unwrap_or(Scheme::Either),
            asked => asked,
        };
        match scheme {
            Scheme::Either => {
                let first = self.connect_as(target, proxies, true).await;
                let (scheme, connected) = match first {
                    // Whoever answers in another language speaks HTTP.
                    Err(Failure::Connect(_) | Failure::Certificate(_)) => {
                        (Scheme::Http, self.connect_as(target, proxies, false).await)
                    }
                    connected => (Scheme::Https, connected),
                };
                if connected.is_ok() {
                    self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(key, scheme);
                }
                connected
            }
            scheme => self.connect_as(target, proxies, scheme == Scheme::Https).await,
        }
    }

    async fn connect_as(
        &self,
        target: &Target,
        proxies: &Proxies,
        is_tls: bool,
    ) -> Result<Connection, Failure> {
        let dialed = timeout(target.dial_timeout, self.dial(target, proxies, is_tls)).await;
        // Not a time-out of an answer, which would be worth asking again: nobody is there.
        let (stream, by_proxy) = dialed.map_err(|_| {
            Failure::Connect(format!("no connection in {} seconds", target.dial_timeout.as_secs_f32()))
        })??;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::Connect(chain(&error)))?;
        // Its failure reaches whoever waits for the answer.
        tokio::spawn(connection);
        Ok(Connection { sender, is_tls, by_proxy })
    }

    async fn dial(
        &self,
        target: &Target,
        proxies: &Proxies,
        is_tls: bool,
    ) -> Result<(Box<dyn Stream>, Option<Option<String>>), Failure> {
        let wrong = |message| Failure::Proxy { proxy: "in the environment".into(), message };
        let proxy = proxies.to(is_tls, &target.host, target.port).map_err(wrong)?;
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (target.host.as_str(), target.port),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let connected = TcpStream::connect((bare, port)).await;
        let mut stream = connected.map_err(|error| match &proxy {
            Some(_) => Failure::Proxy { proxy: format!("{host}:{port}"), message: chain(&error) },
            None => Failure::Connect(chain(&error)),
        })?;
        // Questions are short and answers are waited for.
        let _unimportant = stream.set_nodelay(true);
        if !is_tls {
            return Ok((Box::new(stream), proxy.map(|proxy| proxy.authorization)));
        }
        if let Some(proxy) = &proxy {
            tunnel(&mut stream, proxy, target).await?;
        }
        let configuration = self.configuration(&target.tls)?;
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| Failure::Configuration(format!("`{}` is not a host's name", target.host)))?;
        let connected = TlsConnector::from(configuration).connect(name, stream).await;
        Ok((Box::new(connected.map_err(|error| tls_failure(&error))?), None))
    }

    fn configuration(&self, tls: &Tls) -> Result<Arc<ClientConfig>, Failure> {
        let written = tls.written();
        let known = self.configurations.lock().unwrap_or_else(PoisonError::into_inner).get(tls).cloned();
        if let Some((_, known)) = known.filter(|(then, _)| *then == written) {
            return Ok(known);
        }
        let made = Arc::new(configure(tls)?);
        let mut configurations = self.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        configurations.insert(tls.clone(), (written, made.clone()));
        Ok(made)
    }
}

fn configure(tls: &Tls) -> Result<ClientConfig, Failure> {
    let trust = match tls.skip_verify {
        true => Trust::Anybody,
        false => Trust::MachineAnd(&tls.authorities),
    };
    let identity = tls.clients.first().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    tls::configure(trust, identity).map_err(|error| Failure::Configuration(error.to_string()))
}

/// Asks a proxy for a way to the target.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, target: &Target) -> Result<(), Failure> {
    let refused =
        |message: String| Failure::Proxy { proxy: format!("{}:{}", proxy.host, proxy.port), message };
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let authority = format!("{host}:{}", target.port);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    let failed = |error: io::Error| refused(chain(&error));
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the empty line is the target's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == PROXY_ANSWER_MAX {
            return Err(refused("its answer has no end".into()));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match first.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(refused(first)),
    }
}

fn tls_failure(error: &io::Error) -> Failure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(what)) => Failure::Certificate(format!("{what}")),
        Some(rustls::Error::AlertReceived(alert)) => Failure::Connect(format!("it refuses TLS: {alert:?}")),
        _ => Failure::Connect(chain(error)),
    }
}

/// An error with everything that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = source.source();
    }
    text
}
