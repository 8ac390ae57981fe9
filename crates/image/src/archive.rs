//! Loading images from archives: OCI layouts (in a tar or as a directory) and what `docker save` writes.
//!
//! ```text
//! stream ─ worker ─▶ scratch files ─▶ documents (bounded JSON) ─▶ blobs ─▶ snapshots ─▶ record
//! ```
//!
//! Nothing that the worker or the archive says is believed: every blob is hashed again while it is copied into the
//! store. The image for this machine is unpacked before it gets its name, so that what was loaded can be run; a load
//! that fails leaves nothing, because nothing holds what it stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::digest::Digest;
use oci::manifest::{Index, Manifest, media_type};
use oci::reference::Reference;
use store::edges::Held;
use store::{Blob, Commit, Pin, now_ns};

use crate::apply::Whiteouts;
use crate::error::{Error, Result};
use crate::image::{Image, check_image};
use crate::images::Images;
use crate::unpack::Unpacked;
use crate::worker::{Job, Limits, Packing, Task};
use source::{Member, Source};

mod docker;
mod layout;
mod source;

/// One name that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// In the familiar form; `None` for an image without a name.
    pub name: Option<String>,
    /// Digest of the configuration.
    pub id: Digest,
}

/// How far a load is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// The blob, once it is known.
    pub blob: Option<Digest>,
    pub current_bytes: u64,
    pub total_bytes: Option<u64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Taking the archive apart.
    Reading,
    /// Copying a blob into the store.
    Storing,
    Unpacking,
}

/// Bytes between two reports of the same blob.
const PROGRESS_STEP: u64 = 4 << 20;
/// Largest layer as it is stored; what it expands to has a bound of its own.
pub(crate) const MAX_LAYER_SIZE: u64 = 64 << 30;
const BUFFER_SIZE: usize = 256 << 10;

type OnProgress<'a> = &'a mut dyn FnMut(Progress);

/// An image that was stored, and the names it shall have.
struct Stored {
    target: Descriptor,
    names: Vec<Reference>,
    /// What the archive says of it.
    annotations: BTreeMap<String, String>,
}

/// Which images of an archive are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those for this machine.
    Machine,
    /// All that it has, whatever they are: to be passed on, perhaps, and not to be run.
    All,
}

/// What an archive had, in the store without a name; it stays there while this value lives.
pub struct Unnamed {
    /// The archive's own index.
    pub index: Descriptor,
    /// The images that were wanted, each with what the archive says of it.
    pub images: Vec<Descriptor>,
    _pins: Vec<Pin>,
    _unpacked: Vec<Unpacked>,
}

impl std::fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unnamed").field("images", &self.images).finish_non_exhaustive()
    }
}

impl Images {
    /// Loads all images of an archive that comes as a stream: a file or the read end of a pipe.
    pub fn load(&self, namespace: &str, input: OwnedFd, progress: OnProgress<'_>) -> Result<Vec<Loaded>> {
        let (scratch, directory) = self.extracted(&input, progress)?;
        self.load_source(namespace, &Source::extracted(directory, &scratch.0)?, progress)
    }

    /// Stores what is wanted of an archive, and unpacks what is for this machine if `unpack`; names are the caller's.
    pub fn load_unnamed(&self, input: OwnedFd, wanted: Wanted, unpack: bool) -> Result<Unnamed> {
        let mut progress = |_| {};
        let (scratch, directory) = self.extracted(&input, &mut progress)?;
        let source = Source::extracted(directory, &scratch.0)?;
        let mut load = Load {
            images: self,
            source: &source,
            progress: &mut progress,
            pins: Vec::new(),
            layers: HashMap::new(),
            documents: HashSet::new(),
            takes_names: false,
            wanted,
        };
        let unnamed = load.unnamed(unpack);
        drop(load);
        self.collected(unnamed)
    }

    /// Takes an archive apart into a folder of its own.
    fn extracted(&self, input: &OwnedFd, progress: OnProgress<'_>) -> Result<(Scratch, OwnedFd)> {
        let scratch = Scratch(self.store.content().scratch()?);
        let directory = source::open_directory(&scratch.0)?;
        let job = Job {
            task: Task::Extract,
            limits: Limits::default(),
            input: input.as_fd(),
            directory: directory.as_fd(),
            lowers: Vec::new(),
            whiteouts: Whiteouts::Hide,
            packing: Packing::default(),
        };
        let mut report = |step: crate::worker::Progress| {
            let current_bytes = step.input_bytes;
            progress(Progress { step: Step::Reading, blob: None, current_bytes, total_bytes: None });
        };
        self.worker.run(&job, &mut report).map_err(Error::Archive)?;
        Ok((scratch, directory))
    }

    /// Loads all images of an OCI layout in a directory.
    pub fn load_layout(
        &self,
        namespace: &str,
        directory: BorrowedFd<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Vec<Loaded>> {
        self.load_source(namespace, &Source::layout(directory)?, progress)
    }

    fn load_source(&self, namespace: &str, source: &Source, progress: OnProgress<'_>) -> Result<Vec<Loaded>> {
        let mut load = Load {
            images: self,
            source,
            progress,
            pins: Vec::new(),
            layers: HashMap::new(),
            documents: HashSet::new(),
            takes_names: true,
            wanted: Wanted::Machine,
        };
        let loaded = load.run(namespace);
        drop(load);
        self.collected(loaded)
    }
}

/// One load under way.
struct Load<'a> {
    images: &'a Images,
    source: &'a Source,
    progress: OnProgress<'a>,
    /// Blobs that nothing else holds yet.
    pins: Vec<Pin>,
    /// What docker's layers have become, by their members: an archive may name one thousands of times.
    layers: HashMap<String, Descriptor>,
    /// Documents that are stored with all that they name: indexes may name one more often than anybody could follow.
    documents: HashSet<(Digest, u64, String)>,
    /// What the archive calls its images are to be their names.
    takes_names: bool,
    wanted: Wanted,
}

impl Load<'_> {
    /// Stores the images of the archive, whichever kind it is.
    fn store(&mut self) -> Result<Vec<Stored>> {
        if let Some(index) = self.source.document("index.json")? {
            self.store_layout(&index)
        } else if let Some(manifest) = self.source.document("manifest.json")? {
            self.store_docker(&manifest)
        } else if self.source.document("repositories")?.is_some() {
            Err(Error::OldArchive)
        } else {
            Err(Error::NotAnImageArchive)
        }
    }

    fn unnamed(&mut self, unpack: bool) -> Result<Unnamed> {
        let mut unpacked = Vec::new();
        let mut images: Vec<Descriptor> = Vec::new();
        for Stored { target, names, annotations } in self.store()? {
            if unpack {
                unpacked.extend(self.unpack(&target)?.1);
            }
            let named = |name: &Reference| {
                [(IMAGE_NAME, name.to_string()), (REF_NAME, name.tag().unwrap_or_default().to_owned())]
                    .map(|(key, value)| (key.to_owned(), value))
            };
            if names.is_empty() {
                images.push(Descriptor { annotations, ..target });
                continue;
            }
            let annotated = names.iter().map(|name| Descriptor {
                annotations: annotations.clone().into_iter().chain(named(name)).collect(),
                ..target.clone()
            });
            images.extend(annotated);
        }
        let index = match self.source.document("index.json")? {
            Some(bytes) => bytes,
            // An archive of docker's has none.
            None => serde_json::to_vec(&Index::of(images.clone())).expect("it has only text keys"),
        };
        let digest = self.put(&index)?;
        self.hold(digest, images.iter().map(|image| image.digest.clone()).collect())?;
        let index = Descriptor::of(media_type::OCI_INDEX, &index);
        Ok(Unnamed { index, images, _pins: std::mem::take(&mut self.pins), _unpacked: unpacked })
    }

    fn run(&mut self, namespace: &str) -> Result<Vec<Loaded>> {
        let stored = self.store()?;
        let mut ready = Vec::new();
        for image in stored {
            let (size_bytes, unpacked) = self.unpack(&image.target)?;
            ready.push((image, size_bytes, unpacked));
        }
        let mut loaded = Vec::new();
        // What was unpacked is leased until its image has a record.
        for (Stored { target, names, .. }, size_bytes, _unpacked) in ready {
            let id = self.images.documents(&target)?.manifest.config.digest.clone();
            if names.is_empty() {
                self.images.name(namespace, None, target, size_bytes)?;
                loaded.push(Loaded { name: None, id });
                continue;
            }
            for name in names {
                self.images.name(namespace, Some(&name), target.clone(), size_bytes)?;
                loaded.push(Loaded { name: Some(name.familiar()), id: id.clone() });
            }
        }
        Ok(loaded)
    }

    /// Unpacks what is for this machine; and the size to show.
    fn unpack(&mut self, target: &Descriptor) -> Result<(u64, Option<Unpacked>)> {
        let documents = self.images.documents(target)?;
        let image = Image {
            id: documents.manifest.config.digest.clone(),
            manifest: documents.manifest_digest.clone(),
            target: target.clone(),
            names: Vec::new(),
            config: documents.config.clone(),
            layers: documents.manifest.layers.clone(),
            size_bytes: documents.manifest.layers.iter().map(|layer| layer.size).sum(),
            stored_ns: now_ns(),
        };
        if !image.is_for_this_machine() {
            return Ok((image.size_bytes, None));
        }
        let progress = &mut *self.progress;
        let unpacked = self.images.unpack_with(&image, &mut |layer, current_bytes| {
            let (blob, total_bytes) = (Some(layer.digest.clone()), Some(layer.size));
            progress(Progress { step: Step::Unpacking, blob, current_bytes, total_bytes });
        })?;
        Ok((self.images.size_of(&image)?, Some(unpacked)))
    }

    /// Stores a manifest with all that it names. Its configuration and layers must be in the store already.
    fn store_manifest(&mut self, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
        let digest = self.put(bytes)?;
        let children: Vec<Digest> =
            manifest.layers.iter().chain([&manifest.config]).map(|child| child.digest.clone()).collect();
        self.hold(digest, children)
    }

    /// As long as the blob `parent` is held, its children are.
    fn hold(&self, parent: Digest, children: Vec<Digest>) -> Result<()> {
        let hold = move |tx: &store::Tx<'_>| {
            children.iter().try_for_each(|child| store::edges::add(tx, &parent, Held::Blob(child)))
        };
        Ok(self.images.store.write(Commit::Ordered, hold)?)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<Digest> {
        let (blob, pin) = self.images.store.content().put(bytes)?;
        self.pins.push(pin);
        Ok(blob.digest)
    }

    /// Copies a member into the store, unless the store has it.
    fn store_blob(&mut self, name: &str, expected: Option<(&Digest, u64)>) -> Result<Blob> {
        let content = self.images.store.content();
        if let Some((digest, size)) = expected {
            let pin = content.pin(digest);
            if content.info(digest)?.is_some_and(|blob| blob.size == size) {
                self.pins.push(pin);
                return Ok(Blob { digest: digest.clone(), size });
            }
        }
        let Member { mut file, size } =
            self.source.open(name)?.ok_or_else(|| Error::MissingMember(name.to_owned()))?;
        if let Some((_, expected)) = expected
            && expected != size
        {
            return Err(Error::WrongSize { member: name.to_owned(), expected, actual: size });
        }
        let mut ingest = content.ingest(MAX_LAYER_SIZE)?;
        let digest = expected.map(|(digest, _)| digest);
        let progress = &mut *self.progress;
        copy(&mut file, &mut ingest, &mut |current_bytes| {
            let (blob, total_bytes) = (digest.cloned(), Some(size));
            progress(Progress { step: Step::Storing, blob, current_bytes, total_bytes });
        })
        .map_err(|source| Error::File { what: "store member", path: name.into(), source })?;
        let (blob, pin) = ingest.commit(digest).map_err(|source| match source {
            store::Error::WrongDigest { .. } => Error::WrongContent { member: name.to_owned(), source },
            source => Error::Store(source),
        })?;
        self.pins.push(pin);
        Ok(blob)
    }
}

/// The type of a layer whose archive has this compression.
pub(crate) fn layer_type(compression: crate::compression::Compression) -> &'static str {
    use crate::compression::Compression;
    match compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    }
}

/// Copies a stream in large steps; `report` is told the bytes so far.
pub(crate) fn copy(
    input: &mut impl Read,
    output: &mut impl Write,
    report: &mut dyn FnMut(u64),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let (mut copied, mut reported) = (0, 0);
    loop {
        let length = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        output.write_all(&buffer[..length])?;
        copied += length as u64;
        if copied >= reported + PROGRESS_STEP {
            reported = copied;
            report(copied);
        }
    }
}

/// A directory that goes with its value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the store is opened.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
