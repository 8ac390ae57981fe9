//! Unpacking images into overlay snapshots, one for each layer, named by its chain id.
//!
//! ```text
//! lease on all chain ids ─▶ for each layer from the bottom:
//!     committed? ── yes ─▶ next
//!        └─ no ─▶ prepare "unpack-…" ─▶ worker ─▶ digests right? ── yes ─▶ commit under the chain id
//!                                                     └─ no ─▶ remove
//! ─▶ edge manifest → snapshot ─▶ end of the lease (of a load: once the image has its record)
//! ```
//!
//! Callers that want the same layer at once wait for the first of them. A killed process leaves an active
//! snapshot, which the next start removes.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::platform::Platform;
use rustix::fs::{Mode, OFlags};
use store::edges::Held;
use store::snapshots::{Kind, PrepareOptions, Snapshotter};
use store::{Commit, Store};

use crate::apply::Whiteouts;
use crate::error::{Error, LayerName, Result};
use crate::image::Image;
use crate::images::Images;
use crate::worker::{Job, Limits, Outcome, Packing, Task, WorkerError};

/// The snapshotter that images are unpacked into.
const SNAPSHOTTER: &str = "overlay";
/// How the keys of layers in the making begin; nothing else may be called so.
const KEY_PREFIX: &str = "unpack-";
/// How often a chain is begun anew because a garbage collection took a layer of an image that was just removed.
const MAX_ATTEMPTS: u32 = 3;

/// Is told the layer and the bytes of it that were read.
pub(crate) type LayerProgress<'a> = &'a mut dyn FnMut(&Descriptor, u64);

/// What is being unpacked, and what is known to be.
#[derive(Debug, Default)]
pub(crate) struct Unpacking {
    layers: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
    /// Manifests that hold their snapshot.
    known: Mutex<HashSet<Digest>>,
    next: AtomicU64,
}

/// Snapshots that no collection takes while this value lives.
pub(crate) struct Lease {
    store: Arc<Store>,
    id: String,
}

/// A layer in the making; dropped unfinished, it goes.
struct Draft<'a> {
    snapshots: &'a dyn Snapshotter,
    key: String,
    is_finished: bool,
}

/// An unpacked image; its snapshots stay while this value lives.
pub(crate) struct Unpacked {
    /// The name of the snapshot to make containers on.
    pub(crate) chain_id: Digest,
    _lease: Lease,
}

impl Images {
    /// Unpacks an image for this machine, if it is not; the name of the snapshot to make containers on.
    pub fn unpack(&self, image: &Image) -> Result<Digest> {
        if known(&self.unpacking).contains(&image.manifest)
            && let Some(chain_id) = image.chain_id()
            && self.is_committed(&chain_id)?
        {
            return Ok(chain_id);
        }
        Ok(self.unpack_with(image, &mut |_, _| {})?.chain_id)
    }

    /// As [`Images::unpack`], with progress.
    pub(crate) fn unpack_with(&self, image: &Image, progress: LayerProgress<'_>) -> Result<Unpacked> {
        self.unpack_as(image, &mut |_| Ok(()), progress)
    }

    /// Unpacks layers that may still be coming: `wait` returns when the one at a position is there.
    pub(crate) fn unpack_as(
        &self,
        image: &Image,
        wait: &mut dyn FnMut(usize) -> Result<()>,
        progress: LayerProgress<'_>,
    ) -> Result<Unpacked> {
        if !image.is_for_this_machine() {
            let available = image.platform().to_string();
            return Err(Error::Platform { available, host: Platform::host().to_string() });
        }
        let chain = oci::chain_ids(&image.config.rootfs.diff_ids);
        let chain_id = chain.last().ok_or(Error::NoLayers)?.clone();
        let lease = self.lease(&chain)?;
        for attempt in 1.. {
            match self.unpack_chain(image, &chain, (wait, progress)) {
                Ok(()) => break,
                Err(Error::Store(store::Error::NotFound { kind: "snapshot", .. }))
                    if attempt < MAX_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
        self.hold(&image.manifest, &chain_id)?;
        Ok(Unpacked { chain_id, _lease: lease })
    }

    /// Bytes of the files of each layer, lowest first; of an image that is not unpacked, of the layers as they are stored.
    pub fn layer_sizes(&self, image: &Image) -> Result<Vec<(Digest, u64)>> {
        let snapshots = self.store.snapshots(SNAPSHOTTER)?;
        let chain = oci::chain_ids(&image.config.rootfs.diff_ids);
        let sizes = chain.into_iter().zip(&image.layers).map(|(name, layer)| {
            let size_bytes = match snapshots.size(name.as_str()) {
                Err(store::Error::NotFound { .. }) => layer.size,
                size => size?,
            };
            Ok((name, size_bytes))
        });
        sizes.collect()
    }

    /// Bytes of all files of an image; none if it is not unpacked.
    pub(crate) fn unpacked_bytes(&self, image: &Image) -> Result<u64> {
        match image.chain_id() {
            Some(chain_id) if self.is_committed(&chain_id)? => self.size_of(image),
            _ => Ok(0),
        }
    }

    /// The directories of an image's layers, topmost first; none if it is not unpacked.
    pub fn layer_directories(&self, image: &Image) -> Result<Vec<std::path::PathBuf>> {
        let Some(chain_id) = image.chain_id().filter(|id| self.is_committed(id).unwrap_or(false)) else {
            return Ok(Vec::new());
        };
        let directories = self.store.snapshots(SNAPSHOTTER)?.directories(chain_id.as_str())?;
        Ok(std::iter::once(directories.upper).chain(directories.lower).collect())
    }

    /// Bytes of all files of an image that is unpacked.
    pub(crate) fn size_of(&self, image: &Image) -> Result<u64> {
        Ok(self.layer_sizes(image)?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Unpacks a layer of which only the blob is known, on top of nothing. Its snapshot is leased.
    pub(crate) fn unpack_base(&self, layer: &Digest) -> Result<(Outcome, Lease)> {
        let draft = self.draft(None)?;
        let limits = Limits { needs_end_mark: true, ..Limits::default() };
        let outcome = self.run_worker(&draft, layer, limits, &mut |_| {})?.map_err(Error::Import)?;
        let diff_id = outcome.diff_id.clone().ok_or(Error::NoLayers)?;
        let lease = self.lease(std::slice::from_ref(&diff_id))?;
        let lock = self.unpacking.lock_of(&diff_id);
        let guard = lock.lock().expect("no holder panics");
        if !self.is_committed(&diff_id)? {
            draft.finish(&diff_id, outcome.size_bytes)?;
        }
        drop(guard);
        Ok((outcome, lease))
    }

    /// Makes the manifest hold the snapshot of its layers.
    pub(crate) fn hold(&self, manifest: &Digest, chain_id: &Digest) -> Result<()> {
        let (parent, child) = (manifest.clone(), chain_id.clone());
        let hold = move |tx: &store::Tx<'_>| store::edges::add(tx, &parent, Held::Snapshot(child.as_str()));
        self.store.write(Commit::Ordered, hold)?;
        known(&self.unpacking).insert(manifest.clone());
        Ok(())
    }

    /// Forgets that a manifest holds its snapshot: it may go.
    pub(crate) fn forget_unpacked(&self, manifest: &Digest) {
        known(&self.unpacking).remove(manifest);
    }

    /// Removes the drafts of a process that was killed.
    pub(crate) fn remove_unfinished(&self) -> Result<()> {
        let snapshots = self.store.snapshots(SNAPSHOTTER)?;
        for info in snapshots.list()? {
            // A namespace of clients may begin so, too.
            let is_draft = info.name.starts_with(KEY_PREFIX) && !info.name.contains('/');
            if info.kind == Kind::Active && is_draft {
                snapshots.remove(&info.name)?;
            }
        }
        Ok(())
    }

    fn unpack_chain(
        &self,
        image: &Image,
        chain: &[Digest],
        (wait, progress): (&mut dyn FnMut(usize) -> Result<()>, LayerProgress<'_>),
    ) -> Result<()> {
        for (position, (name, layer)) in chain.iter().zip(&image.layers).enumerate() {
            let lock = self.unpacking.lock_of(name);
            let _guard = lock.lock().expect("no holder panics");
            if self.is_committed(name)? {
                continue;
            }
            wait(position)?;
            let parent = position.checked_sub(1).map(|below| &chain[below]);
            let draft = self.draft(parent)?;
            let name_of_layer =
                || LayerName { number: position + 1, count: chain.len(), digest: layer.digest.clone() };
            let outcome = self
                .run_worker(&draft, &layer.digest, Limits::default(), &mut |bytes| progress(layer, bytes))?
                .map_err(|source| Error::Layer { layer: name_of_layer(), source })?;
            check(&outcome, layer, &image.config.rootfs.diff_ids[position], &name_of_layer)?;
            draft.finish(name, outcome.size_bytes)?;
        }
        Ok(())
    }

    fn draft(&self, parent: Option<&Digest>) -> Result<Draft<'_>> {
        let snapshots = self.store.snapshots(SNAPSHOTTER)?;
        let number = self.unpacking.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("{KEY_PREFIX}{}-{number}", std::process::id());
        snapshots.prepare(&key, parent.map(Digest::as_str), PrepareOptions::default())?;
        Ok(Draft { snapshots, key, is_finished: false })
    }

    fn run_worker(
        &self,
        draft: &Draft<'_>,
        layer: &Digest,
        limits: Limits,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Result<Outcome, WorkerError>> {
        let input: File = self.store.content().open_blob(layer)?;
        let directories = draft.snapshots.directories(&draft.key)?;
        let upper = open_directory(&directories.upper)?;
        let lowers = directories.lower.iter().map(|path| open_directory(path)).collect::<Result<Vec<_>>>()?;
        let job = Job {
            task: Task::Unpack,
            limits,
            input: input.as_fd(),
            directory: upper.as_fd(),
            lowers: lowers.iter().map(AsFd::as_fd).collect(),
            whiteouts: Whiteouts::Hide,
            packing: Packing::default(),
        };
        Ok(self.worker.run(&job, &mut |step| progress(step.input_bytes)))
    }

    fn is_committed(&self, name: &Digest) -> Result<bool> {
        match self.store.snapshots(SNAPSHOTTER)?.stat(name.as_str()) {
            Ok(info) => Ok(info.kind == Kind::Committed),
            Err(store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, names: &[Digest]) -> Result<Lease> {
        let number = self.unpacking.next.fetch_add(1, Ordering::Relaxed);
        let lease = Lease { store: self.store.clone(), id: format!("{KEY_PREFIX}{number}") };
        let (id, names) = (lease.id.clone(), names.to_vec());
        self.store.write(Commit::Ordered, move |tx| {
            names.iter().try_for_each(|name| store::leases::add(tx, &id, Held::Snapshot(name.as_str())))
        })?;
        Ok(lease)
    }
}

/// The layer in the store must be whole, and what came out of it must be what the image says.
fn check(
    outcome: &Outcome,
    layer: &Descriptor,
    expected: &Digest,
    name: &dyn Fn() -> LayerName,
) -> Result<()> {
    if let Some(actual) = &outcome.input_digest
        && *actual != layer.digest
    {
        return Err(Error::DamagedLayer { layer: name(), actual: actual.clone() });
    }
    match &outcome.diff_id {
        Some(actual) if actual == expected => Ok(()),
        Some(actual) => {
            Err(Error::DiffId { layer: name(), expected: expected.clone(), actual: actual.clone() })
        }
        None => Err(Error::NoLayers),
    }
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
        what: "open",
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn known(unpacking: &Unpacking) -> MutexGuard<'_, HashSet<Digest>> {
    unpacking.known.lock().expect("no holder panics")
}

impl Unpacking {
    /// The lock of one layer. Whoever holds it is the only one to unpack that layer.
    fn lock_of(&self, name: &Digest) -> Arc<Mutex<()>> {
        let mut layers = self.layers.lock().expect("no holder panics");
        // Locks that nobody holds or waits for are of no more use.
        layers.retain(|_, lock| Arc::strong_count(lock) > 1);
        layers.entry(name.clone()).or_default().clone()
    }
}

impl Draft<'_> {
    /// Gives it its name; `size_bytes` are those of its files.
    fn finish(mut self, name: &Digest, size_bytes: u64) -> Result<()> {
        self.snapshots.commit(name.as_str(), &self.key)?;
        self.is_finished = true;
        Ok(self.snapshots.note_size(name.as_str(), size_bytes)?)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed at the next start.
            let _ = self.snapshots.remove(&self.key);
            let _ = self.snapshots.cleanup();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let id = std::mem::take(&mut self.id);
        // What a lease holds for too long goes when the store is opened.
        let _ = self.store.write(Commit::Ordered, move |tx| store::leases::delete(tx, &id));
    }
}
