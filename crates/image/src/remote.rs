//! A repository of a registry, for who keeps images elsewhere than in a store of this machine: documents and blobs come and go
//! as bytes, and what is done with them is the caller's.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::reference::Reference;
use tokio::sync::mpsc;

use crate::pull::tag_or_digest;
use crate::push::Opened;
use crate::registry::{
    Access, Ask, Body, Config, Endpoint, Failure, Registry, RegistryError, Right, Source, nothing,
};

/// A repository, as somebody sees it.
#[derive(Debug)]
pub struct Remote {
    registry: Registry,
    source: Source,
}

/// Bytes that come in pieces.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// What is sent to a registry: blobs, and then the documents that name them, the last of them under the name that it was asked for.
#[derive(Debug, Default)]
pub struct Sent {
    pub blobs: Vec<Descriptor>,
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Blobs that are on their way at one time.
    pub at_once: usize,
}

impl Remote {
    /// The repository of `name`, whose tag or digest is what is asked for there. `pushes`: something is sent there.
    pub fn new(name: Reference, access: Access, config: Config, pushes: bool) -> Remote {
        let scope = if pushes { "pull,push" } else { "pull" };
        Remote { registry: Registry::new(config), source: Source { name, access, scope } }
    }

    /// The name that it was made of.
    pub fn name(&self) -> &Reference {
        &self.source.name
    }

    /// What the name leads to: a manifest or an index, and its bytes.
    pub async fn resolve(&self) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let name = &self.source.name;
        self.registry.manifest(&self.source, &tag_or_digest(name), name.digest()).await
    }

    /// A manifest or an index that another document names.
    pub async fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let digest = &descriptor.digest;
        Ok(self.registry.manifest(&self.source, digest.as_str(), Some(digest)).await?.1)
    }

    /// A blob of which only the digest is known.
    pub async fn describe(&self, digest: &Digest) -> Result<Descriptor, RegistryError> {
        let path = format!("/{}/blobs/{digest}", self.source.name.path());
        let ask = Ask { method: Method::HEAD, path, headers: Vec::new(), body: &nothing };
        let mut round = self.registry.round(&self.source, Right::Pull);
        while let Some(endpoint) = round.next() {
            let described = self.registry.send(&endpoint, &self.source, &ask).await.and_then(|answer| {
                let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
                let length = length.and_then(|length| length.parse().ok());
                let unknown = || Failure::Content(format!("it does not tell the size of {digest}"));
                Ok(Descriptor::new("", digest.clone(), length.ok_or_else(unknown)?))
            });
            match described {
                Ok(descriptor) => return Ok(descriptor),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    /// A configuration, or another small blob.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let mut round = self.registry.round(&self.source, Right::Pull);
        while let Some(endpoint) = round.next() {
            match self.registry.document_at(&endpoint, &self.source, &descriptor.digest).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    /// Passes the pieces of a blob on as they come, as many bytes as its descriptor says. Whether they are the right ones is the
    /// reader's to check.
    pub async fn blob(&self, blob: &Descriptor, sink: mpsc::Sender<Bytes>) -> Result<(), RegistryError> {
        self.registry.fetch_blob(&self.source, blob, sink).await
    }

    /// Sends blobs and documents, as `open` gives the blobs' bytes; `told` is called with each blob, and whether it had to be sent.
    pub async fn push(
        &self,
        sent: &Sent,
        open: &(dyn Fn(&Descriptor) -> Pieces + Send + Sync),
        told: &(dyn Fn(&Descriptor, bool) + Sync),
    ) -> Result<(), RegistryError> {
        let mut round = self.registry.round(&self.source, Right::Push);
        while let Some(endpoint) = round.next() {
            match self.push_to(&endpoint, sent, open, told).await {
                Ok(()) => return Ok(()),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    async fn push_to(
        &self,
        endpoint: &Endpoint,
        sent: &Sent,
        open: &(dyn Fn(&Descriptor) -> Pieces + Send + Sync),
        told: &(dyn Fn(&Descriptor, bool) + Sync),
    ) -> Result<(), Failure> {
        let push = async |blob: &Descriptor| {
            let opened = || Ok(Opened { size: blob.size, body: Box::new(|| body_of(open(blob))) });
            let is_new = self.registry.push_blob(endpoint, &self.source, &blob.digest, &opened).await?;
            told(blob, is_new);
            Ok::<_, Failure>(())
        };
        let mut pushes =
            futures_util::stream::iter(&sent.blobs).map(push).buffer_unordered(sent.at_once.max(1));
        while let Some(pushed) = pushes.next().await {
            pushed?;
        }
        for (number, (descriptor, bytes)) in sent.documents.iter().enumerate() {
            let reference = match number + 1 == sent.documents.len() {
                true => tag_or_digest(&self.source.name),
                false => descriptor.digest.to_string(),
            };
            let document = (descriptor.media_type.as_str(), Bytes::from(bytes.clone()));
            self.registry.push_document(endpoint, &self.source, &reference, document).await?;
        }
        Ok(())
    }
}

fn body_of(pieces: Pieces) -> Body {
    let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    BodyExt::boxed(StreamBody::new(frames))
}
