//! Images that the daemon moves: containerd's transfer service, and the streams that go with a call of it.
//!
//! ```text
//! Transfer(source, destination) ┬─ progress ─▶ what is shown
//!                               ├─ auth ─────▶ who asks a registry, when the daemon wants to know
//!                               └─ data ─────▶ an archive, in pieces, as many as the receiver has allowed
//! ```
//!
//! containerd has it since 1.7. A daemon without it says `Unimplemented` when the first stream is opened; then the commands
//! do the same from this side (`local`).

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use api::any;
use api::types;
use api::types::transfer::{AuthRequest, AuthResponse, AuthType, ImageStore, UnpackConfiguration};
use grpc::streaming::StreamInit;
use grpc::transfer::{TransferOptions, TransferRequest};
use oci::platform::Platform;
use prost_types::Any;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::client::Client;
use crate::content::Queue;
use crate::error::Error;
use crate::grammar::Call;
use crate::output;

pub(crate) mod bytes;
pub(crate) mod progress;

use progress::Shown;

/// How long the daemon's last words about a transfer that is done are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages that wait for the daemon.
const WAITING_MAX: usize = 4;

/// A stream that a call names.
pub(crate) struct Stream {
    pub(crate) id: String,
    outgoing: mpsc::Sender<Any>,
    incoming: Streaming<Any>,
}

impl Stream {
    /// Opens a stream; the daemon knows it when this returns.
    pub(crate) async fn open(client: &Client, purpose: &str) -> Result<Stream, Error> {
        let id = format!("{purpose}-{}", crate::leases::generated());
        let (outgoing, messages) = mpsc::channel(WAITING_MAX);
        let ended = || Error::Usage(format!("the daemon ended the stream {id:?}"));
        outgoing.send(any::pack(&StreamInit { id: id.clone() })).await.map_err(|_| ended())?;
        let mut incoming = client.streaming().stream(Queue(messages)).await?.into_inner();
        incoming.message().await?.ok_or_else(ended)?;
        Ok(Stream { id, outgoing, incoming })
    }

    async fn receive(&mut self) -> Result<Option<Any>, Error> {
        Ok(self.incoming.message().await?)
    }

    /// Whether the daemon still takes messages.
    async fn send(&self, message: Any) -> bool {
        self.outgoing.send(message).await.is_ok()
    }
}

/// The way by the daemon, when the flags and the daemon allow it: the stream on which it will tell how far it is. None: what is
/// asked for is done from this side.
///
/// # Errors
/// A flag of `only_local` is given, which the daemon's way does not know.
pub(crate) async fn way(
    call: &Call,
    client: &Client,
    only_local: &[&'static str],
) -> Result<Option<Stream>, Error> {
    if call.is("local") {
        return Ok(None);
    }
    let stream = match Stream::open(client, "progress").await {
        Ok(stream) => stream,
        // A containerd before 1.7.
        Err(error) if error.is(tonic::Code::Unimplemented) => return Ok(None),
        Err(error) => return Err(error),
    };
    match only_local.iter().find(|name| call.is_given(name)) {
        Some(name) => Err(Error::Usage(format!("\"--{name}\" requires \"--local\" flag"))),
        None => Ok(Some(stream)),
    }
}

/// When what goes on beside a transfer is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends<'a> {
    /// Nobody needs it after the transfer.
    WithTransfer,
    /// It has an end of its own, which is waited for; it is told that the transfer is done.
    ByItself(&'a Cell<bool>),
}

/// Has the daemon move an image, with something going on beside it; shows how far it is.
pub(crate) async fn run(
    client: &Client,
    mut progress: Stream,
    (source, destination): (Any, Any),
    (beside, ends): (impl Future<Output = Result<(), Error>>, Ends<'_>),
    mut shown: Shown,
) -> Result<(), Error> {
    let request = TransferRequest {
        source: Some(source),
        destination: Some(destination),
        options: Some(TransferOptions { progress_stream: progress.id.clone() }),
    };
    let mut service = client.transfer();
    let moved = async {
        let transferring = service.transfer(request);
        tokio::pin!(transferring);
        tokio::pin!(beside);
        // A call that failed needs nobody's data, and data that failed makes no image.
        tokio::select! {
            done = &mut transferring => {
                done?;
                match ends {
                    Ends::WithTransfer => Ok(()),
                    Ends::ByItself(is_done) => {
                        is_done.set(true);
                        beside.await
                    }
                }
            }
            served = &mut beside => match (served, ends) {
                (Ok(()), _) => Ok(transferring.await.map(drop)?),
                (Err(error), Ends::WithTransfer) => Err(error),
                // What came is not whole because the transfer failed; then that is what is told.
                (Err(error), Ends::ByItself(_)) => {
                    match tokio::time::timeout(LAST_WORDS, transferring).await {
                        Ok(Err(status)) => Err(status.into()),
                        _ => Err(error),
                    }
                }
            },
        }
    };
    let told = async {
        while let Ok(Some(message)) = progress.receive().await {
            if let Some(Ok(message)) = any::unpack(&message) {
                shown.tell(&message);
            }
        }
    };
    {
        tokio::pin!(moved);
        tokio::pin!(told);
        let (done, is_told) = tokio::select! {
            done = &mut moved => (done, false),
            () = &mut told => (moved.await, true),
        };
        done?;
        if !is_told {
            // The last words may come after the answer; that there are no more, not every daemon says.
            let _ = tokio::time::timeout(LAST_WORDS, told).await;
        }
    }
    shown.finish()
}

/// A task that ends when its owner does.
pub(crate) struct Aside(tokio::task::JoinHandle<()>);

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers the daemon's questions for who asks the registry `own`, as long as the value lives.
pub(crate) fn answering(stream: Stream, own: String, response: AuthResponse) -> Aside {
    Aside(tokio::spawn(async move {
        // Who asks is told nothing more when the stream breaks; the transfer says what became of it.
        let _ = answer(stream, &own, &response).await;
    }))
}

async fn answer(mut stream: Stream, own: &str, response: &AuthResponse) -> Result<(), Error> {
    while let Some(message) = stream.receive().await? {
        let Some(Ok(AuthRequest { host, .. })) = any::unpack(&message) else { continue };
        // Docker's own registry is not where its name says.
        let is_own = host == own || (own == "docker.io" && host.ends_with(".docker.io"));
        let none = AuthResponse { auth_type: AuthType::None.into(), ..AuthResponse::default() };
        if !is_own {
            output::warn("warning", &format!("{host} asks for a password; the one given is for {own} alone"));
        }
        if !stream.send(any::pack(if is_own { response } else { &none })).await {
            break;
        }
    }
    Ok(())
}

/// The daemon's end of a transfer: a name, and what is kept of the image and unpacked.
pub(crate) fn store(
    name: &str,
    platforms: &[Platform],
    unpacked: &[Platform],
    snapshotter: &str,
) -> ImageStore {
    ImageStore {
        name: name.to_owned(),
        platforms: platforms.iter().map(message).collect(),
        unpacks: unpacked
            .iter()
            .map(|platform| UnpackConfiguration {
                platform: Some(message(platform)),
                snapshotter: snapshotter.to_owned(),
            })
            .collect(),
        ..ImageStore::default()
    }
}

pub(crate) fn message(platform: &Platform) -> types::Platform {
    types::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        ..types::Platform::default()
    }
}
