//! Pull: from a name to an image that can run.
//!
//! ```text
//! resolve ─▶ manifest, configuration ─▶ layers, at once ──▶ blobs ──▶ record
//!                                         └─ one after the other, as they come ─▶ snapshots
//! ```
//!
//! Every layer is fetched at the same time as the others (up to a bound that all pulls share) and hashed and written on its way; a layer
//! is unpacked as soon as it is there and everything below it is. A blob that is there is not fetched, and one that another pull is
//! fetching is waited for. A connection that is cut is taken up where it was cut.
//!
//! Dropping the future ends everything and leaves nothing but whole blobs, which the next pull finds until they are collected.

mod blob;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::image_config::ImageConfig;
use oci::manifest::{Document, Index, Manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use store::edges::Held;
use store::{Commit, Pin, now_ns};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::image::{Image, MAX_NESTING, check_image, parse_document};
use crate::images::Images;
use crate::registry::{Access, Failure, RegistryError, Source};
use crate::unpack::Unpacked;

/// Layers that are fetched at one time, by all pulls together.
const DOWNLOADS_MAX: usize = 6;
/// Configurations are documents.
const CONFIG_MAX: usize = 4 << 20;

/// How an image is pulled.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// None: this machine's.
    pub platform: Option<Platform>,
    pub access: Access,
}

/// What a pull has done.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub image: Image,
    /// What the name leads to: a manifest or an index.
    pub target: Digest,
    /// The name did not lead there before.
    pub is_new: bool,
}

/// What happens to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEvent {
    pub layer: Descriptor,
    pub step: PullStep,
}

/// An image at its registry, with the documents that describe it: ready to be fetched.
#[derive(Debug)]
pub struct Found {
    source: Source,
    image: Image,
    resolved: Resolved,
    /// Keeps the configuration from being collected.
    config: Pin,
}

/// An image that is in the store, and stays there while this value lives.
pub struct Fetched {
    image: Image,
    _pins: Vec<Pin>,
    _unpacked: Option<Unpacked>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullStep {
    PullingLayer,
    Waiting,
    AlreadyExists,
    Downloading { current: u64, total: u64 },
    Verifying,
    DownloadComplete,
    Retrying { reason: String },
    Extracting { current: u64, total: u64 },
    PullComplete,
}

/// Where a pull tells what happens. One that nobody listens to goes on.
pub type PullProgress = mpsc::UnboundedSender<PullEvent>;

/// What all pulls share.
#[derive(Debug)]
pub(crate) struct Fetching {
    downloads: Arc<Semaphore>,
    /// Blobs that are being fetched; whoever holds the lock fetches.
    blobs: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Default for Fetching {
    fn default() -> Fetching {
        Fetching { downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)), blobs: Mutex::default() }
    }
}

/// The documents of an image to be pulled.
#[derive(Debug)]
struct Resolved {
    /// What the name leads to.
    target: Descriptor,
    /// Indexes on the way, outermost first, each with the entry that was chosen in it.
    indexes: Vec<(Digest, Vec<u8>, Digest)>,
    manifest_digest: Digest,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
}

/// Which layers are there; who unpacks waits for the next.
#[derive(Debug, Default)]
struct Arrivals {
    state: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Arrived {
    layers: Vec<bool>,
    /// There will be no more.
    is_over: bool,
}

impl Images {
    /// Pulls an image and gives it its name.
    pub async fn pull(
        self: &Arc<Self>,
        namespace: &str,
        name: &Reference,
        options: &PullOptions,
        progress: PullProgress,
    ) -> Result<Pulled> {
        let found = self.find_remote(name, options).await?;
        let fetched = self.fetch(found, true, progress).await?;
        let (images, namespace, name) = (self.clone(), namespace.to_owned(), name.clone());
        on_thread(move || images.record_pulled(&namespace, &name, fetched)).await
    }

    /// Looks up an image at its registry: what its name leads to, for one platform.
    pub async fn find_remote(self: &Arc<Self>, name: &Reference, options: &PullOptions) -> Result<Found> {
        let source = Source { name: name.clone(), access: options.access.clone(), scope: "pull" };
        let resolved = self.resolve_remote(&source, options.platform.as_ref()).await?;
        let (pin, config) = self.fetch_config(&source, &resolved).await?;
        check_platform(options.platform.as_ref(), &config.platform, name)?;
        let image = Image {
            id: resolved.manifest.config.digest.clone(),
            manifest: resolved.manifest_digest.clone(),
            target: resolved.target.clone(),
            names: vec![name.clone()],
            config: Arc::new(config),
            layers: resolved.manifest.layers.clone(),
            size_bytes: 0,
            stored_ns: now_ns(),
        };
        Ok(Found { source, image, resolved, config: pin })
    }

    /// Fetches what is missing of an image, and unpacks it if that is wanted and it is for this machine. It has no name yet.
    pub async fn fetch(
        self: &Arc<Self>,
        found: Found,
        unpack: bool,
        progress: PullProgress,
    ) -> Result<Fetched> {
        let Found { source, image, resolved, config } = found;
        let arrivals = Arc::new(Arrivals::of(image.layers.len()));
        let unpacking = (unpack && image.is_for_this_machine()).then(|| {
            let (images, image) = (self.clone(), image.clone());
            let (arrivals, progress) = (arrivals.clone(), progress.clone());
            tokio::task::spawn_blocking(move || images.unpack_arriving(&image, &arrivals, &progress))
        });
        // Whatever happens, whoever unpacks is told; also when this future is dropped.
        let over = Over(arrivals.clone());
        let fetched = self.fetch_layers(&source, &image, &arrivals, &progress).await;
        drop(over);
        let unpacked = match unpacking {
            Some(unpacking) => Some(unpacking.await),
            None => None,
        };
        let mut pins = fetched?;
        let unpacked = match unpacked {
            Some(Ok(unpacked)) => Some(unpacked?),
            Some(Err(failure)) => std::panic::resume_unwind(failure.into_panic()),
            None => None,
        };
        let images = self.clone();
        on_thread(move || {
            pins.push(config);
            pins.extend(images.store_found(&image, &resolved)?);
            let size_bytes = images.size_of(&image)?;
            Ok(Fetched { image: Image { size_bytes, ..image }, _pins: pins, _unpacked: unpacked })
        })
        .await
    }

    /// All tags of a repository.
    pub async fn tags(&self, name: &Reference, access: &Access) -> Result<Vec<String>> {
        let source = Source { name: name.clone(), access: access.clone(), scope: "pull" };
        Ok(self.registry.tags(&source).await?)
    }

    /// What a name leads to at its registry, and for which platforms.
    pub async fn remote(&self, name: &Reference, access: &Access) -> Result<(Descriptor, Vec<Platform>)> {
        let source = Source { name: name.clone(), access: access.clone(), scope: "pull" };
        let (descriptor, bytes) =
            self.registry.manifest(&source, &tag_or_digest(name), name.digest()).await?;
        let platforms = match parse_document(&bytes, &descriptor)? {
            Document::Index(index) => {
                let entries = index.manifests.into_iter().filter(|entry| !entry.is_attestation());
                entries.filter_map(|entry| entry.platform).collect()
            }
            Document::Manifest(manifest) => {
                let (bytes, _pin) = self.fetch_document(&source, &manifest.config).await?;
                vec![check_image(&descriptor.digest, &manifest, &bytes)?.platform]
            }
        };
        Ok((descriptor, platforms))
    }

    async fn resolve_remote(&self, source: &Source, platform: Option<&Platform>) -> Result<Resolved> {
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let (target, mut bytes) =
            self.registry.manifest(source, &tag_or_digest(&source.name), source.name.digest()).await?;
        let mut descriptor = target.clone();
        let mut indexes = Vec::new();
        for _ in 0..MAX_NESTING {
            match parse_document(&bytes, &descriptor)? {
                Document::Manifest(manifest) => {
                    return Ok(Resolved {
                        target,
                        indexes,
                        manifest_digest: descriptor.digest,
                        manifest,
                        manifest_bytes: bytes,
                    });
                }
                Document::Index(index) => {
                    let chosen = choose(&index, &wanted, source)?;
                    let (_, child) =
                        self.registry.manifest(source, chosen.digest.as_str(), Some(&chosen.digest)).await?;
                    check_size(&chosen, &child)?;
                    indexes.push((descriptor.digest, bytes, chosen.digest.clone()));
                    (descriptor, bytes) = (chosen, child);
                }
            }
        }
        Err(Error::Nesting)
    }

    async fn fetch_config(
        self: &Arc<Self>,
        source: &Source,
        resolved: &Resolved,
    ) -> Result<(Pin, ImageConfig)> {
        let (bytes, pin) = self.fetch_document(source, &resolved.manifest.config).await?;
        let config = check_image(&resolved.manifest_digest, &resolved.manifest, &bytes)?;
        Ok((pin, config))
    }

    async fn fetch_layers(
        self: &Arc<Self>,
        source: &Source,
        image: &Image,
        arrivals: &Arc<Arrivals>,
        progress: &PullProgress,
    ) -> Result<Vec<Pin>> {
        let mut fetches = JoinSet::new();
        for (position, layer) in image.layers.iter().cloned().enumerate() {
            let (images, source) = (self.clone(), source.clone());
            let (arrivals, progress) = (arrivals.clone(), progress.clone());
            tell(&progress, &layer, PullStep::PullingLayer);
            fetches.spawn(async move {
                let pin = images.fetch_layer(&source, &layer, &progress).await?;
                arrivals.arrived(position);
                Ok::<_, Error>(pin)
            });
        }
        let mut pins = Vec::new();
        while let Some(fetched) = fetches.join_next().await {
            match fetched {
                // The first failure ends the others: the set goes with this function.
                Ok(pin) => pins.push(pin?),
                Err(failure) => std::panic::resume_unwind(failure.into_panic()),
            }
        }
        Ok(pins)
    }

    /// Unpacks layers as they come; runs where it may block.
    fn unpack_arriving(
        &self,
        image: &Image,
        arrivals: &Arrivals,
        progress: &PullProgress,
    ) -> Result<Unpacked> {
        let mut begun: Option<&Descriptor> = None;
        let mut wait = |position: usize| {
            // The next one begins when the last is done.
            begun
                .replace(&image.layers[position])
                .into_iter()
                .for_each(|done| tell(progress, done, PullStep::PullComplete));
            arrivals.wait(position)
        };
        let unpacked = self.unpack_as(image, &mut wait, &mut |layer, current| {
            tell(progress, layer, PullStep::Extracting { current, total: layer.size });
        })?;
        begun.into_iter().for_each(|done| tell(progress, done, PullStep::PullComplete));
        Ok(unpacked)
    }

    /// Stores the documents, which hold what they name.
    fn store_found(&self, image: &Image, resolved: &Resolved) -> Result<Vec<Pin>> {
        let content = self.store.content();
        let mut pins = vec![content.put(&resolved.manifest_bytes)?.1];
        let children = image.layers.iter().map(|layer| layer.digest.clone()).chain([image.id.clone()]);
        let mut edges: Vec<(Digest, Digest)> =
            children.map(|child| (image.manifest.clone(), child)).collect();
        for (digest, bytes, chosen) in &resolved.indexes {
            pins.push(content.put(bytes)?.1);
            edges.push((digest.clone(), chosen.clone()));
        }
        self.store.write(Commit::Ordered, move |tx| {
            edges.iter().try_for_each(|(parent, child)| store::edges::add(tx, parent, Held::Blob(child)))
        })?;
        Ok(pins)
    }

    /// Makes the record under the image's one name: what it names is there and on disk.
    fn record_pulled(&self, namespace: &str, name: &Reference, fetched: Fetched) -> Result<Pulled> {
        let target = fetched.image.target.clone();
        let before = self.record_of(namespace, name)?;
        let is_new = before.is_none_or(|record| record.target.digest != target.digest);
        // By digest alone there is no tag to move; the name with its digest is the record's.
        self.name(namespace, Some(name), target.clone(), fetched.image.size_bytes)?;
        Ok(Pulled { target: target.digest, image: fetched.image, is_new })
    }

    fn record_of(&self, namespace: &str, name: &Reference) -> Result<Option<store::images::Image>> {
        let name = name.to_string();
        Ok(self.store.read(|tx| store::images::get(tx, namespace, &name))?)
    }
}

impl Found {
    /// What its name leads to: a manifest, or an index.
    pub fn target(&self) -> &Descriptor {
        &self.resolved.target
    }

    /// The documents from the name to the image, and its layers: each with the document that names it.
    pub fn tree(&self) -> Vec<(Option<Digest>, Descriptor)> {
        let Resolved { target, indexes, manifest_digest, manifest, manifest_bytes } = &self.resolved;
        let mut tree = vec![(None, target.clone())];
        for (position, (index, _, chosen)) in indexes.iter().enumerate() {
            let size = match indexes.get(position + 1) {
                Some((_, bytes, _)) => bytes.len(),
                None => manifest_bytes.len(),
            };
            let kind =
                if chosen == manifest_digest { manifest_type(manifest) } else { media_type::OCI_INDEX };
            tree.push((Some(index.clone()), Descriptor::new(kind, chosen.clone(), size as u64)));
        }
        let children = [&manifest.config].into_iter().chain(&manifest.layers);
        tree.extend(children.map(|child| (Some(manifest_digest.clone()), child.clone())));
        tree
    }
}

impl Fetched {
    /// What its name leads to: a manifest, or an index.
    pub fn target(&self) -> &Descriptor {
        &self.image.target
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("image", &self.image).finish_non_exhaustive()
    }
}

impl Arrivals {
    fn of(count: usize) -> Arrivals {
        let arrived = Arrived { layers: vec![false; count], is_over: false };
        Arrivals { state: Mutex::new(arrived), changed: Condvar::new() }
    }

    fn arrived(&self, position: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).layers[position] = true;
        self.changed.notify_all();
    }

    /// Waits until a layer is there.
    fn wait(&self, position: usize) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.layers[position] {
            if state.is_over {
                return Err(Error::Cancelled);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

/// Dropped when no more layers will come.
struct Over(Arc<Arrivals>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.0.changed.notify_all();
    }
}

pub(crate) fn tell(progress: &PullProgress, layer: &Descriptor, step: PullStep) {
    drop(progress.send(PullEvent { layer: layer.clone(), step }));
}

/// Runs what may block on a thread of its own.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}

/// A manifest's own word for its type, or OCI's.
fn manifest_type(manifest: &Manifest) -> &str {
    match manifest.media_type.as_str() {
        "" => media_type::OCI_MANIFEST,
        told => told,
    }
}

/// What a registry is asked for.
pub(crate) fn tag_or_digest(name: &Reference) -> String {
    match (name.digest(), name.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

/// A document is as large as whoever names it says.
fn check_size(descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    let (expected, actual) = (descriptor.size, bytes.len() as u64);
    match expected == actual {
        true => Ok(()),
        false => Err(Error::WrongSize { member: descriptor.digest.to_string(), expected, actual }),
    }
}

/// The entry for a platform; an index with a single image that does not say has that.
fn choose(index: &Index, wanted: &Platform, source: &Source) -> Result<Descriptor> {
    let images: Vec<&Descriptor> = index.manifests.iter().filter(|entry| !entry.is_attestation()).collect();
    let fits =
        |entry: &&&Descriptor| entry.platform.as_ref().is_some_and(|platform| wanted.matches(platform));
    let exact = |entry: &&&Descriptor| entry.platform.as_ref() == Some(wanted);
    let silent = |entry: &&&Descriptor| entry.platform.is_none();
    let found =
        images.iter().find(exact).or_else(|| images.iter().find(fits)).or_else(|| images.iter().find(silent));
    found.map(|entry| (*entry).clone()).ok_or_else(|| {
        let available: Vec<String> =
            images.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
        Error::NoPlatform {
            name: source.name.familiar(),
            wanted: wanted.to_string(),
            available: available.join(", "),
        }
    })
}

/// Who names a platform gets it or nothing, also where no index offers a choice.
fn check_platform(wanted: Option<&Platform>, actual: &Platform, name: &Reference) -> Result<()> {
    match wanted {
        Some(wanted) if !wanted.matches(actual) => Err(Error::NoPlatform {
            name: name.familiar(),
            wanted: wanted.to_string(),
            available: actual.to_string(),
        }),
        _ => Ok(()),
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Error {
        Error::Registry(Box::new(error))
    }
}

/// A failure of one host as an error of the whole.
pub(crate) fn failed(source: &Source, host: &str, failure: Failure) -> Error {
    let attempts = vec![crate::registry::Attempt { host: host.to_owned(), failure }];
    RegistryError { name: source.name.familiar(), attempts }.into()
}
