//! Ways to a daemon that are no sockets of this machine's own: TLS, and the standard streams of ssh(1).
//!
//! Either is met at one end of a pair of sockets, so that the rest of the client knows sockets only. TLS is spoken by a thread
//! that carries bytes between the pair and the network; `ssh` has the other end as its stdin and stdout. Why a way broke is
//! known here only: [`Fate`] keeps it for whoever sees the pair end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use image::tls::{Trust, configure};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::address::{Material, Ssh};

/// How long an `ssh` that has nothing more to say is waited for, and how often it is looked at.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// Why a way broke.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    error: Option<io::Error>,
    ssh: Option<Child>,
}

impl Fate {
    /// What broke it, once; none: the daemon itself went away.
    pub(crate) fn take(&self) -> Option<io::Error> {
        let mut inner = self.inner();
        if let Some(mut ssh) = inner.ssh.take() {
            // Its stdout has ended, so that it is about to; another one's may go on.
            let begin = Instant::now();
            while begin.elapsed() < ENDS_WITHIN {
                match ssh.try_wait() {
                    Ok(Some(status)) if !status.success() => {
                        return Some(io::Error::other(format!("ssh has ended with {status}")));
                    }
                    Ok(None) => thread::sleep(LOOKS_EVERY),
                    Ok(Some(_)) | Err(_) => return None,
                }
            }
        }
        inner.error.take()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts `ssh`, which starts a client on the other machine that passes the connection on.
pub(crate) fn ssh(address: &Ssh, fate: &Fate) -> io::Result<UnixStream> {
    let (own, other) = UnixStream::pair()?;
    let mut command = Command::new("ssh");
    command.args(address.words());
    if !address.path.is_empty() {
        command.args(["--host", &format!("unix://{}", address.path)]);
    }
    command.args(["system", "dial-stdio"]);
    let stdin = OwnedFd::from(other.try_clone()?);
    // What it has to say (a key that is not known, a name that there is not) is for the user.
    let child = command.stdin(stdin).stdout(OwnedFd::from(other)).stderr(Stdio::inherit()).spawn();
    let child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::Unsupported, "there is no `ssh` on this machine")
        }
        _ => error,
    })?;
    fate.inner().ssh = Some(child);
    Ok(own)
}

/// Connects and speaks TLS; the far end of the socket that is returned speaks with the daemon.
pub(crate) async fn tls(host: &str, material: &Material, fate: &Fate) -> io::Result<UnixStream> {
    let trust = material.authority.as_deref().map_or(Trust::Anybody, Trust::Only);
    let identity =
        material.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let configuration = configuration(trust, identity)?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let (own, other) = UnixStream::pair()?;
    other.set_nonblocking(true)?;
    let (ready, is_ready) = oneshot::channel();
    let (host, fate) = (host.to_owned(), fate.clone());
    thread::Builder::new().name("tls".into()).spawn(move || {
        let carry = async move {
            let connected = async {
                let stream = TcpStream::connect(&host).await?;
                stream.set_nodelay(true)?;
                TlsConnector::from(Arc::new(configuration)).connect(name, stream).await
            };
            let mut far = match connected.await {
                Ok(far) => far,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let mut near = match tokio::net::UnixStream::from_std(other) {
                Ok(near) => near,
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Whoever asked may have gone.
            let _ = ready.send(Ok(()));
            if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut far).await {
                fate.inner().error = Some(error);
            }
        };
        // Without a runtime the sender is dropped with what is to be run, which tells that there is no connection.
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(carry);
        }
    })?;
    match is_ready.await {
        Ok(connected) => connected.map(|()| own),
        Err(_) => Err(io::Error::other("the thread that speaks TLS has ended")),
    }
}

fn configuration(trust: Trust<'_>, identity: Option<(&Path, &Path)>) -> io::Result<rustls::ClientConfig> {
    configure(trust, identity).map_err(io::Error::other)
}
