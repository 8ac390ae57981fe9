//! Push: an image goes to a registry as it is stored, with its digests unchanged.
//!
//! Blobs first, then the manifest that names them, then the index above it: a registry never has a document without what it names.
//! A blob that the registry has is not sent. Of an index only what is stored here can be sent: where that is not all of it, the
//! manifest for this machine goes alone, as Docker does it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::manifest::{Document, MAX_DOCUMENT_SIZE, media_type};
use oci::reference::Reference;
use store::Pin;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::image::{Image, parse_document};
use crate::images::Images;
use crate::pull::tag_or_digest;
use crate::registry::{
    Access, Ask, Body, Endpoint, Failure, Registry, Right, Source, nothing, place_of, retried,
};

/// Pieces of a file that are read ahead of the network.
const WAITING_MAX: usize = 16;
const PIECE: usize = 256 << 10;
/// A report of progress for every so many bytes.
const PROGRESS_STEP: u64 = 512 << 10;

/// What happens to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    pub layer: Descriptor,
    pub step: PushStep,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushStep {
    Preparing,
    LayerExists,
    Pushing { current: u64, total: u64 },
    Pushed,
}

/// Where a push tells what happens.
pub type PushProgress = mpsc::UnboundedSender<PushEvent>;

/// What a registry has from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub tag: String,
    pub digest: Digest,
    /// Of the document that the tag names, in bytes.
    pub size: u64,
}

/// A document to be sent, with its type.
struct Sent {
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

/// What a push sends: an image, and its documents in the order in which they are sent.
struct Prepared {
    image: Image,
    documents: Vec<Sent>,
    /// What is sent stays until it has been, whoever removes the image meanwhile.
    _pins: Vec<Pin>,
}

impl Images {
    /// Pushes the image of that name to the registry that the name says.
    pub async fn push(
        self: &Arc<Self>,
        namespace: &str,
        name: &Reference,
        access: &Access,
        progress: PushProgress,
    ) -> Result<Pushed> {
        self.push_as(namespace, (&name.to_string(), name), access, progress).await
    }

    /// Pushes an image under another name than it has here.
    pub async fn push_as(
        self: &Arc<Self>,
        namespace: &str,
        (image, name): (&str, &Reference),
        access: &Access,
        progress: PushProgress,
    ) -> Result<Pushed> {
        let (images, namespace, text) = (self.clone(), namespace.to_owned(), image.to_owned());
        let prepared = tokio::task::spawn_blocking(move || images.prepare_push(&namespace, &text));
        let prepared = match prepared.await {
            Ok(prepared) => prepared?,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        };
        let source = Source { name: name.clone(), access: access.clone(), scope: "pull,push" };
        let mut round = self.registry.round(&source, Right::Push);
        while let Some(endpoint) = round.next() {
            match self.push_to(&endpoint, &source, &prepared, &progress).await {
                Ok(pushed) => return Ok(pushed),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over().into())
    }

    /// The image is asked for its documents; an index is sent only when all it names is here.
    fn prepare_push(&self, namespace: &str, name: &str) -> Result<Prepared> {
        let image = self.resolve(namespace, name)?;
        let content = self.store.content();
        let blobs = image.layers.iter().map(|layer| &layer.digest).chain([&image.id]);
        let pins = blobs.map(|digest| content.pin(digest)).collect();
        let read = |descriptor: &Descriptor| -> Result<Sent> {
            let bytes = content.read_small(&descriptor.digest, MAX_DOCUMENT_SIZE as u64)?;
            let document = parse_document(&bytes, descriptor)?;
            let mut descriptor = descriptor.clone();
            // A registry wants to know what it gets.
            if descriptor.media_type.is_empty() {
                descriptor.media_type = match document {
                    Document::Manifest(_) => media_type::OCI_MANIFEST.into(),
                    Document::Index(_) => media_type::OCI_INDEX.into(),
                };
            }
            Ok(Sent { descriptor, bytes })
        };
        let target = read(&image.target)?;
        let Document::Index(index) = parse_document(&target.bytes, &target.descriptor)? else {
            return Ok(Prepared { image, documents: vec![target], _pins: pins });
        };
        let is_there = |entry: &Descriptor| content.info(&entry.digest).is_ok_and(|blob| blob.is_some());
        let chosen = index.manifests.iter().find(|entry| entry.digest == image.manifest).cloned();
        let chosen = chosen.unwrap_or_else(|| Descriptor::new("", image.manifest.clone(), 0));
        let manifest = read(&chosen)?;
        let is_whole = index.manifests.len() == 1 && index.manifests.iter().all(is_there);
        let documents = if is_whole { vec![manifest, target] } else { vec![manifest] };
        Ok(Prepared { image, documents, _pins: pins })
    }

    async fn push_to(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        source: &Source,
        prepared: &Prepared,
        progress: &PushProgress,
    ) -> Result<Pushed, Failure> {
        let Prepared { image, documents, .. } = prepared;
        let config = Descriptor::new("", image.id.clone(), 0);
        for layer in &image.layers {
            tell(progress, layer, PushStep::Preparing);
        }
        for layer in &image.layers {
            self.push_blob(endpoint, source, layer, Some(progress)).await?;
        }
        self.push_blob(endpoint, source, &config, None).await?;
        let tag = tag_or_digest(&source.name);
        let mut pushed = None;
        for (number, document) in documents.iter().enumerate() {
            let is_last = number + 1 == documents.len();
            let reference = if is_last { tag.clone() } else { document.descriptor.digest.to_string() };
            let (kind, bytes) = (&document.descriptor.media_type, Bytes::from(document.bytes.clone()));
            self.registry.push_document(endpoint, source, &reference, (kind, bytes)).await?;
            let (digest, size) = (document.descriptor.digest.clone(), document.bytes.len() as u64);
            pushed = Some(Pushed { tag: tag.clone(), digest, size });
        }
        pushed.ok_or_else(|| Failure::Content("the image has no documents".into()))
    }

    async fn push_blob(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        source: &Source,
        blob: &Descriptor,
        progress: Option<&PushProgress>,
    ) -> Result<(), Failure> {
        let watcher = progress.cloned().map(|progress| (progress, blob.clone()));
        let open = || {
            let file = self.store.content().open_blob(&blob.digest);
            let missing = |error| Failure::Content(format!("{} is not here: {error}", blob.digest));
            let file = file.map_err(missing)?;
            let size = file.metadata().map(|data| data.len()).unwrap_or_default();
            let watcher = watcher.clone();
            Ok(Opened { size, body: Box::new(move || body_of(&file, size, watcher.clone())) })
        };
        let is_new = self.registry.push_blob(endpoint, source, &blob.digest, &open).await?;
        if let Some(progress) = progress {
            tell(progress, blob, if is_new { PushStep::Pushed } else { PushStep::LayerExists });
        }
        Ok(())
    }

    /// Shows credentials to a registry; the identity token that it gives for them, if it does.
    pub async fn login(&self, host: &str, access: &Access) -> Result<String> {
        Ok(self.registry.login(host, access).await?)
    }

    /// Images that a registry finds for a term.
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        access: &Access,
    ) -> Result<Vec<crate::registry::SearchResult>> {
        Ok(self.registry.search(term, limit, access).await?)
    }
}

/// A blob that is ready to be sent, as often as it takes.
pub(crate) struct Opened<'a> {
    pub(crate) size: u64,
    pub(crate) body: Box<dyn Fn() -> Body + Send + Sync + 'a>,
}

impl Registry {
    /// Sends a blob, unless the registry has it; whether it was sent.
    pub(crate) async fn push_blob<'a>(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        digest: &Digest,
        open: &(dyn Fn() -> Result<Opened<'a>, Failure> + Sync),
    ) -> Result<bool, Failure> {
        let path = format!("/{}/blobs/{digest}", source.name.path());
        let known = Ask { method: Method::HEAD, path, headers: Vec::new(), body: &nothing };
        match self.send(endpoint, source, &known).await {
            Ok(_) => return Ok(false),
            Err(Failure::NotFound(_)) => {}
            Err(failure) => return Err(failure),
        }
        // An upload that was cut is of no more use: what is tried again is the whole of it.
        retried(endpoint, || async { self.upload(endpoint, source, digest, open()?).await }).await?;
        Ok(true)
    }

    /// Begins an upload and sends a blob there.
    async fn upload(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        digest: &Digest,
        Opened { size, body }: Opened<'_>,
    ) -> Result<(), Failure> {
        let path = format!("/{}/blobs/uploads/", source.name.path());
        let begin = Ask { method: Method::POST, path, headers: Vec::new(), body: &nothing };
        let begun = self.authenticated(endpoint, source, &begin).await?;
        let place = place_of(&begun, endpoint)?;
        let separator = if place.contains('?') { '&' } else { '?' };
        let path = format!("{place}{separator}digest={}", digest.as_str().replace(':', "%3A"));
        let headers =
            vec![(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, size.to_string())];
        let send = Ask { method: Method::PUT, path, headers, body: &*body };
        self.authenticated(endpoint, source, &send).await.map(drop)
    }

    /// Sends a manifest or an index, of that media type, under a tag or its digest.
    pub(crate) async fn push_document(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        reference: &str,
        (media_type, bytes): (&str, Bytes),
    ) -> Result<(), Failure> {
        let body = move || Full::new(bytes.clone()).map_err(|never| match never {}).boxed();
        let ask = Ask {
            method: Method::PUT,
            path: format!("/{}/manifests/{reference}", source.name.path()),
            headers: vec![(CONTENT_TYPE, media_type.to_owned())],
            body: &body,
        };
        self.send(endpoint, source, &ask).await.map(drop)
    }
}

/// A file as a body, read where it may block and at the network's pace.
fn body_of(file: &File, size: u64, watcher: Option<(PushProgress, Descriptor)>) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Frame<Bytes>>>(WAITING_MAX);
    match file.try_clone() {
        Ok(file) => {
            drop(tokio::task::spawn_blocking(move || read_into(&file, size, &sender, watcher.as_ref())))
        }
        Err(error) => drop(sender.try_send(Err(error))),
    }
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

fn read_into(
    file: &File,
    size: u64,
    sender: &mpsc::Sender<io::Result<Frame<Bytes>>>,
    watcher: Option<&(PushProgress, Descriptor)>,
) {
    use std::os::unix::fs::FileExt;
    let (mut at, mut reported) = (0, 0);
    while at < size {
        let mut piece = vec![0; PIECE];
        // By place, not by position: the file may be read again from its beginning.
        let read = file.read_at(&mut piece, at).and_then(|length| match length {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        });
        let frame = read.map(|length| {
            piece.truncate(length);
            at += length as u64;
            Frame::data(Bytes::from(piece))
        });
        let is_over = frame.is_err();
        if sender.blocking_send(frame).is_err() || is_over {
            return;
        }
        if let Some((progress, blob)) = watcher.filter(|_| at >= reported + PROGRESS_STEP || at == size) {
            reported = at;
            tell(progress, blob, PushStep::Pushing { current: at, total: size });
        }
    }
}

fn tell(progress: &PushProgress, layer: &Descriptor, step: PushStep) {
    drop(progress.send(PushEvent { layer: layer.clone(), step }));
}
