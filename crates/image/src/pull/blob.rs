//! One blob: fetched, hashed and written at once, taken up again where it was cut.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use store::Pin;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{CONFIG_MAX, PullProgress, PullStep, check_size, tell};
use crate::archive::MAX_LAYER_SIZE;
use crate::error::{Error, Result};
use crate::images::Images;
use crate::registry::{Ask, Endpoint, Failure, Registry, RegistryError, Right, Round, Source, nothing};

/// A host that sends nothing for so long is taken for dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Cuts in a row with less than [`STEP_MIN`] in between: a host that gives a byte a time holds up the others.
const CUTS_MAX: u32 = 5;
const STEP_MIN: u64 = 64 << 10;
/// Pieces that wait to be written: a few megabytes at most.
const WAITING_MAX: usize = 32;
/// A report of progress for every so many bytes.
const PROGRESS_STEP: u64 = 512 << 10;

/// A blob on its way: how far it is, and where its bytes go.
struct Way<'a> {
    layer: &'a Descriptor,
    received: u64,
    reported: u64,
    sink: mpsc::Sender<Bytes>,
    progress: Option<&'a PullProgress>,
}

/// What became of a layer.
enum Fetched {
    Whole(Pin),
    /// Who sent the last of it; it is not what its digest says.
    Wrong(Box<Endpoint>, Failure),
    /// No host is left.
    Nowhere,
}

impl Images {
    /// A document, which is small: its bytes, kept in the store.
    pub(super) async fn fetch_document(
        &self,
        source: &Source,
        descriptor: &Descriptor,
    ) -> Result<(Vec<u8>, Pin)> {
        if descriptor.size > CONFIG_MAX as u64 {
            let member = descriptor.digest.to_string();
            return Err(Error::DocumentTooLarge { member, size: descriptor.size });
        }
        let content = self.store.content();
        let pin = content.pin(&descriptor.digest);
        if content.info(&descriptor.digest)?.is_none() {
            let mut round = self.registry.round(source, Right::Pull);
            loop {
                let Some(endpoint) = round.next() else { return Err(round.over().into()) };
                match self.registry.document_at(&endpoint, source, &descriptor.digest).await {
                    Ok(bytes) => break drop(content.put(&bytes)?),
                    Err(failure) => round.failed(&endpoint, failure),
                }
            }
        }
        let bytes = content.read_small(&descriptor.digest, CONFIG_MAX as u64)?;
        check_size(descriptor, &bytes)?;
        Ok((bytes, pin))
    }

    /// A layer, unless it is there.
    pub(super) async fn fetch_layer(
        self: &Arc<Self>,
        source: &Source,
        layer: &Descriptor,
        progress: &PullProgress,
    ) -> Result<Pin> {
        let pin = self.store.content().pin(&layer.digest);
        let lock = self.fetching.lock_of(&layer.digest);
        tell(progress, layer, PullStep::Waiting);
        let _one_fetches = lock.lock().await;
        if self.store.content().info(&layer.digest)?.is_some_and(|blob| blob.size == layer.size) {
            tell(progress, layer, PullStep::AlreadyExists);
            return Ok(pin);
        }
        if layer.size > MAX_LAYER_SIZE {
            return Err(super::failed(
                source,
                source.name.domain(),
                Failure::Content(format!("a layer of {} bytes", layer.size)),
            ));
        }
        let _permit = self.fetching.downloads.clone().acquire_owned().await.expect("it is never closed");
        let mut round = self.registry.round(source, Right::Pull);
        loop {
            match self.fetch_whole(source, layer, &mut round, progress).await? {
                Fetched::Whole(pin) => {
                    tell(progress, layer, PullStep::DownloadComplete);
                    return Ok(pin);
                }
                // The hosts that have not been asked yet may have the right bytes.
                Fetched::Wrong(endpoint, failure) => round.failed(&endpoint, failure),
                Fetched::Nowhere => return Err(round.over().into()),
            }
        }
    }

    /// Fetches a layer from its beginning: from the next host, and what that one does not give from the hosts after it.
    async fn fetch_whole(
        self: &Arc<Self>,
        source: &Source,
        layer: &Descriptor,
        round: &mut Round,
        progress: &PullProgress,
    ) -> Result<Fetched> {
        let (sink, waiting) = mpsc::channel(WAITING_MAX);
        let (images, descriptor) = (self.clone(), layer.clone());
        let writing = tokio::task::spawn_blocking(move || images.write(&descriptor, waiting));
        let mut way = Way { layer, received: 0, reported: 0, sink, progress: Some(progress) };
        let served = loop {
            let Some(endpoint) = round.next() else { break None };
            match self.registry.fetch_from(&endpoint, source, &mut way).await {
                Ok(()) => break Some(endpoint),
                Err(failure) => round.failed(&endpoint, failure),
            }
        };
        tell(progress, layer, PullStep::Verifying);
        drop(way);
        let written = match writing.await {
            Ok(written) => written,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        };
        match (served, written) {
            (None, _) => Ok(Fetched::Nowhere),
            (Some(_), Ok(pin)) => Ok(Fetched::Whole(pin)),
            (Some(endpoint), Err(Error::Store(error @ store::Error::WrongDigest { .. }))) => {
                Ok(Fetched::Wrong(Box::new(endpoint), Failure::Content(error.to_string())))
            }
            (Some(_), Err(error)) => Err(error),
        }
    }

    /// Writes pieces as they come; runs where it may block.
    fn write(&self, layer: &Descriptor, mut pieces: mpsc::Receiver<Bytes>) -> Result<Pin> {
        let mut ingest = self.store.content().ingest(layer.size)?;
        let mut written = 0;
        while let Some(piece) = pieces.blocking_recv() {
            let path = ingest.path().to_owned();
            ingest.write_all(&piece).map_err(|source| Error::File { what: "write", path, source })?;
            written += piece.len() as u64;
        }
        if written < layer.size {
            // Whoever fetched it gave up.
            return Err(Error::Cancelled);
        }
        Ok(ingest.commit(Some(&layer.digest))?.1)
    }
}

impl Registry {
    /// A document, which is small.
    pub(crate) async fn document_at(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        digest: &Digest,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.send(endpoint, source, &ask(source, digest, 0)).await?;
        let bytes = crate::registry::collect(answer.into_body(), CONFIG_MAX).await?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(Failure::Content(format!("{digest} has another content"))),
        }
    }

    /// Fetches a blob from the first host that has it, and passes its pieces on as they come; a reader that is gone ends it. What
    /// the pieces make is the reader's to check.
    pub(crate) async fn fetch_blob(
        &self,
        source: &Source,
        blob: &Descriptor,
        sink: mpsc::Sender<Bytes>,
    ) -> Result<(), RegistryError> {
        let mut round = self.round(source, Right::Pull);
        let mut way = Way { layer: blob, received: 0, reported: 0, sink, progress: None };
        while let Some(endpoint) = round.next() {
            match self.fetch_from(&endpoint, source, &mut way).await {
                Ok(()) => return Ok(()),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    /// Fetches what is missing of a blob from one host.
    async fn fetch_from(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        way: &mut Way<'_>,
    ) -> Result<(), Failure> {
        let mut cuts = 0;
        while way.received < way.layer.size {
            let before = way.received;
            let answer = self.send(endpoint, source, &ask(source, &way.layer.digest, before)).await?;
            // A host that knows no ranges begins anew; what is known already is passed over.
            let begin = match answer.status().as_u16() {
                206 => range_begin(answer.headers()).unwrap_or(before),
                _ => 0,
            };
            if begin > before {
                return Err(Failure::Content("a part that was not asked for".into()));
            }
            match way.take(answer.into_body(), before - begin).await {
                Ok(()) => {}
                Err(failure @ (Failure::Connect(_) | Failure::Timeout(_))) => {
                    cuts = if way.received >= before + STEP_MIN { 0 } else { cuts + 1 };
                    if cuts >= CUTS_MAX {
                        return Err(failure);
                    }
                    if let Some(progress) = way.progress {
                        tell(progress, way.layer, PullStep::Retrying { reason: failure.to_string() });
                    }
                    if cuts > 0 {
                        tokio::time::sleep(Duration::from_millis(200 << cuts)).await;
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

impl Way<'_> {
    /// Takes a body, but for what is known of it.
    async fn take(&mut self, mut body: Incoming, mut known: u64) -> Result<(), Failure> {
        loop {
            let frame = match timeout(IDLE_TIMEOUT, body.frame()).await {
                Err(_) => return Err(Failure::Timeout(IDLE_TIMEOUT)),
                Ok(None) if self.received < self.layer.size => {
                    return Err(Failure::Connect("the connection was cut".into()));
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(Failure::Connect(error.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(mut piece) = frame.into_data() else { continue };
            let skipped = known.min(piece.len() as u64);
            known -= skipped;
            drop(piece.split_to(usize::try_from(skipped).expect("a piece's own length")));
            if self.received + piece.len() as u64 > self.layer.size {
                return Err(Failure::Content(format!(
                    "more than the {} bytes that it should have",
                    self.layer.size
                )));
            }
            self.received += piece.len() as u64;
            if self.sink.send(piece).await.is_err() {
                // The disk is full, or the like; whoever writes says it.
                self.received = self.layer.size;
                return Ok(());
            }
            self.report();
        }
    }

    fn report(&mut self) {
        if self.received >= self.reported + PROGRESS_STEP || self.received == self.layer.size {
            self.reported = self.received;
            if let Some(progress) = self.progress {
                let (current, total) = (self.received, self.layer.size);
                tell(progress, self.layer, PullStep::Downloading { current, total });
            }
        }
    }
}

impl super::Fetching {
    fn lock_of(&self, blob: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut blobs = self.blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Locks that nobody holds or waits for are of no more use.
        blobs.retain(|_, lock| Arc::strong_count(lock) > 1);
        blobs.entry(blob.clone()).or_default().clone()
    }
}

fn ask(source: &Source, digest: &Digest, from: u64) -> Ask<'static> {
    let mut headers = vec![(ACCEPT_ENCODING, "identity".to_owned())];
    if from > 0 {
        headers.push((RANGE, format!("bytes={from}-")));
    }
    let path = format!("/{}/blobs/{digest}", source.name.path());
    Ask { method: Method::GET, path, headers, body: &nothing }
}

/// Where the part begins that an answer brings: `bytes 5-9/10`.
fn range_begin(headers: &hyper::HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
