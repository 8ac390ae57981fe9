//! The images of a store: records, names, lookup.
//!
//! A record's name is a normalised reference, verbatim. An image that lost its last name but is still wanted
//! (loaded without one, or its name went to another image) is *dangling*: its record is called
//! `<none>@` and the digest of its target, which can never be a reference.
//!
//! Lookup is Docker's: an exact id, a name as it is, the name completed, then a unique prefix of an id.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::reference::Reference;
use store::{Commit, Labels, Store, Tx, now_ns};

use crate::error::{Error, Result};
use crate::image::{Documents, Image};
use crate::pull::Fetching;
use crate::registry::{self, Registry};
use crate::unpack::Unpacking;
use crate::worker::WorkerCommand;

/// Label of a record: bytes of all files of the unpacked image.
pub(crate) const SIZE_LABEL: &str = "corten.size";
/// How a dangling image's record begins.
const DANGLING_PREFIX: &str = "<none>@";
/// Images whose documents are kept in memory; a machine rarely has more.
const MAX_CACHED: usize = 512;

/// A name that an image is to have as it is, and the labels of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub labels: Labels,
}

/// The images of a store.
pub struct Images {
    pub(crate) store: Arc<Store>,
    pub(crate) worker: WorkerCommand,
    pub(crate) unpacking: Unpacking,
    pub(crate) registry: Registry,
    pub(crate) fetching: Fetching,
    documents: Mutex<HashMap<Digest, Arc<Documents>>>,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Images {
    /// The images of `store`; what killed processes left half unpacked is removed.
    pub fn new(store: Arc<Store>, worker: WorkerCommand, registries: registry::Config) -> Result<Images> {
        let images = Images {
            store,
            worker,
            unpacking: Unpacking::default(),
            registry: Registry::new(registries),
            fetching: Fetching::default(),
            documents: Mutex::default(),
        };
        images.remove_unfinished()?;
        Ok(images)
    }

    /// The image that a person means by `name`: an id, a name, a short name, or a unique prefix of an id.
    pub fn resolve(&self, namespace: &str, name: &str) -> Result<Image> {
        if let Some(record) = self.record(namespace, name)? {
            return self.with_all_names(namespace, &record);
        }
        if let Some(image) = self.by_id(namespace, name)? {
            return Ok(image);
        }
        let shown =
            Reference::parse_normalized(name).map_or_else(|_| name.to_owned(), |name| name.familiar());
        Err(Error::NoSuchImage(shown))
    }

    /// The image's id and names for one use, without a look at any other image: what `run` needs.
    pub fn find(&self, namespace: &str, name: &str) -> Result<Image> {
        match self.record(namespace, name)? {
            Some(record) => self.image(&record),
            None => self.resolve(namespace, name),
        }
    }

    /// All images, those stored last first.
    pub fn list(&self, namespace: &str) -> Result<Vec<Image>> {
        let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
        for record in self.records(namespace)? {
            let image = match self.image(&record) {
                Ok(image) => image,
                Err(error) if is_damage(&error) => damaged(&record),
                Err(error) => return Err(error),
            };
            match images.get_mut(&image.id) {
                Some(known) => {
                    known.names.extend(image.names);
                    known.stored_ns = known.stored_ns.max(image.stored_ns);
                }
                None => drop(images.insert(image.id.clone(), image)),
            }
        }
        let mut images: Vec<Image> = images.into_values().collect();
        images.iter_mut().for_each(|image| image.names.sort());
        images.sort_by_key(|image| std::cmp::Reverse(image.stored_ns));
        Ok(images)
    }

    /// Gives an image one more name. The image that had it keeps its other names, or is dangling from now on.
    pub fn tag(&self, namespace: &str, source: &str, target: &str) -> Result<Image> {
        let name = parse_tag(target)?;
        let image = self.resolve(namespace, source)?;
        let (target, size) = (image.target.clone(), image.size_bytes);
        self.name(namespace, Some(&name), target, size)?;
        self.resolve(namespace, &name.to_string())
    }

    /// Whether a namespace has an image of exactly that name, as it is or completed.
    pub fn has_name(&self, namespace: &str, name: &str) -> Result<bool> {
        Ok(self.record(namespace, name)?.is_some())
    }

    /// Gives a name of one namespace to another, with what it leads to.
    pub fn copy_name(&self, from: &str, to: &str, name: &str) -> Result<Image> {
        let record = self.record(from, name)?.ok_or_else(|| Error::NoSuchImage(name.to_owned()))?;
        let image = self.image(&record)?;
        self.name(to, reference_of(&record).as_ref(), image.target.clone(), image.size_bytes)?;
        Ok(image)
    }

    /// The result of storing something; of what failed, nothing holds what was stored, and it goes.
    pub(crate) fn collected<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // What cannot be collected now is collected with the next garbage.
            let _ = self.store.gc();
        }
        result
    }

    /// Records an image under a name, durably; without one it is dangling.
    pub(crate) fn name(
        &self,
        namespace: &str,
        name: Option<&Reference>,
        target: Descriptor,
        size_bytes: u64,
    ) -> Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.map(ToString::to_string));
        let now_ns = now_ns();
        let work = move |tx: &Tx<'_>| {
            let labels = Labels::from([(SIZE_LABEL.to_owned(), size_bytes.to_string())]);
            let record = |name: String, target: Descriptor| store::images::Image {
                namespace: namespace.clone(),
                name,
                target,
                created_ns: now_ns,
                updated_ns: now_ns,
                labels: labels.clone(),
            };
            let Some(name) = name else {
                let has_name = is_named(tx, &namespace, &target.digest)?;
                return if has_name {
                    Ok(())
                } else {
                    store::images::put(tx, &record(dangling(&target.digest), target))
                };
            };
            let previous = store::images::get(tx, &namespace, &name)?;
            let nameless = dangling(&target.digest);
            if store::images::get(tx, &namespace, &nameless)?.is_some() {
                store::images::delete(tx, &namespace, &nameless)?;
            }
            let digest = target.digest.clone();
            store::images::put(tx, &record(name, target))?;
            match previous {
                Some(previous) if previous.target.digest != digest => keep_nameless(tx, previous),
                _ => Ok(()),
            }
        };
        Ok(self.store.write(Commit::Durable, work)?)
    }

    /// Makes records of names as they are, durably; for each, whether it is new. What such a name led to before is let go of.
    pub fn record_as(&self, namespace: &str, target: &Descriptor, names: Vec<Named>) -> Result<Vec<bool>> {
        let (namespace, target, now_ns) = (namespace.to_owned(), target.clone(), now_ns());
        let work = move |tx: &Tx<'_>| {
            let record = |Named { name, labels }: Named| {
                let is_new = store::images::get(tx, &namespace, &name)?.is_none();
                let image = store::images::Image {
                    namespace: namespace.clone(),
                    name,
                    target: target.clone(),
                    created_ns: now_ns,
                    updated_ns: now_ns,
                    labels,
                };
                store::images::put(tx, &image).map(|()| is_new)
            };
            names.into_iter().map(record).collect()
        };
        Ok(self.store.write(Commit::Durable, work)?)
    }

    /// What a name as it is leads to.
    pub fn target(&self, namespace: &str, name: &str) -> Result<Option<Descriptor>> {
        let record = self.store.read(|tx| store::images::get(tx, namespace, name))?;
        Ok(record.map(|record| record.target))
    }

    /// The records of a namespace, by name.
    pub(crate) fn records(&self, namespace: &str) -> Result<Vec<store::images::Image>> {
        Ok(self.store.read(|tx| store::images::list(tx, namespace))?)
    }

    /// The record of that name, as it is or completed.
    pub(crate) fn record(&self, namespace: &str, name: &str) -> Result<Option<store::images::Image>> {
        let normalized = Reference::parse_normalized(name).ok();
        let digest = normalized.as_ref().and_then(Reference::digest);
        let found = self.store.read(|tx| {
            let exact = store::images::get(tx, namespace, name)?;
            match (exact, &normalized) {
                (None, Some(normalized)) => store::images::get(tx, namespace, &normalized.to_string()),
                (exact, _) => Ok(exact),
            }
        })?;
        match (found, &normalized, digest) {
            // `name@digest` means the image of that repository with that digest, whatever its tag is.
            (None, Some(reference), Some(digest)) => self.by_repository(namespace, reference, digest),
            (found, ..) => Ok(found),
        }
    }

    fn by_repository(
        &self,
        namespace: &str,
        wanted: &Reference,
        digest: &Digest,
    ) -> Result<Option<store::images::Image>> {
        let is_wanted = |record: &store::images::Image| {
            record.target.digest == *digest
                && reference_of(record).is_some_and(|name| name.repository() == wanted.repository())
        };
        Ok(self.records(namespace)?.into_iter().find(is_wanted))
    }

    /// By a whole id, or a unique prefix of one.
    fn by_id(&self, namespace: &str, text: &str) -> Result<Option<Image>> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hexadecimal = prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if prefix.is_empty() || prefix.len() > 64 || !is_hexadecimal {
            return Ok(None);
        }
        let images = self.list(namespace)?;
        // A whole manifest digest names the image, too, as with containerd's clients.
        if let Some(image) = images.iter().find(|image| image.target.digest.hex() == prefix) {
            return Ok(Some(image.clone()));
        }
        let mut found = images.into_iter().filter(|image| image.id.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::AmbiguousId(text.to_owned())),
            (first, _) => Ok(first),
        }
    }

    fn with_all_names(&self, namespace: &str, record: &store::images::Image) -> Result<Image> {
        let mut image = match self.image(record) {
            Err(error) if is_damage(&error) => damaged(record),
            other => other?,
        };
        let others = self.records(namespace)?.into_iter().filter(|other| other.name != record.name);
        for other in others {
            let is_same = other.target.digest == image.target.digest
                || self
                    .documents(&other.target)
                    .is_ok_and(|documents| documents.manifest.config.digest == image.id);
            if is_same {
                image.names.extend(reference_of(&other));
            }
        }
        image.names.sort();
        Ok(image)
    }

    /// What a record names, with that name only.
    pub(crate) fn image(&self, record: &store::images::Image) -> Result<Image> {
        let documents = self.documents(&record.target)?;
        let stored: u64 = documents.manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(Image {
            id: documents.manifest.config.digest.clone(),
            manifest: documents.manifest_digest.clone(),
            target: record.target.clone(),
            names: reference_of(record).into_iter().collect(),
            config: documents.config.clone(),
            layers: documents.manifest.layers.clone(),
            size_bytes: record.labels.get(SIZE_LABEL).and_then(|size| size.parse().ok()).unwrap_or(stored),
            stored_ns: record.updated_ns,
        })
    }

    /// The documents behind a target, from memory when they were read before: they never change.
    pub(crate) fn documents(&self, target: &Descriptor) -> Result<Arc<Documents>> {
        if let Some(known) = self.documents.lock().expect("no holder panics").get(&target.digest) {
            return Ok(known.clone());
        }
        let documents = Arc::new(Documents::read(self.store.content(), target)?);
        let mut cache = self.documents.lock().expect("no holder panics");
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(target.digest.clone(), documents.clone());
        Ok(documents)
    }

    /// Forgets what was read of an image that is gone.
    pub(crate) fn forget(&self, target: &Digest) {
        self.documents.lock().expect("no holder panics").remove(target);
    }
}

/// The name of a record, unless it is dangling.
pub(crate) fn reference_of(record: &store::images::Image) -> Option<Reference> {
    Reference::parse_named(&record.name).ok()
}

/// A name that an image can be given.
pub(crate) fn parse_tag(text: &str) -> Result<Reference> {
    let name = Reference::parse_normalized(text)
        .map_err(|source| Error::Name { name: text.chars().take(200).collect(), source })?;
    match name.digest() {
        Some(_) => Err(Error::NamedByDigest(text.to_owned())),
        None => Ok(name),
    }
}

/// The name of a dangling image's record.
pub(crate) fn dangling(target: &Digest) -> String {
    format!("{DANGLING_PREFIX}{target}")
}

fn is_named(tx: &Tx<'_>, namespace: &str, target: &Digest) -> store::Result<bool> {
    Ok(store::images::list(tx, namespace)?.iter().any(|record| record.target.digest == *target))
}

/// Keeps what a record named before its name went to another image, unless it has other names.
pub(crate) fn keep_nameless(tx: &Tx<'_>, record: store::images::Image) -> store::Result<()> {
    if is_named(tx, &record.namespace, &record.target.digest)? {
        return Ok(());
    }
    store::images::put(tx, &store::images::Image { name: dangling(&record.target.digest), ..record })
}

/// Whether an image's own documents are missing or wrong, as opposed to the store failing.
fn is_damage(error: &Error) -> bool {
    use api::code::Code;
    matches!(error.code(), Code::NotFound | Code::InvalidArgument | Code::DataLoss)
}

/// An image whose documents are gone can still be listed and removed.
fn damaged(record: &store::images::Image) -> Image {
    Image {
        id: record.target.digest.clone(),
        manifest: record.target.digest.clone(),
        target: record.target.clone(),
        names: reference_of(record).into_iter().collect(),
        config: Arc::default(),
        layers: Vec::new(),
        size_bytes: 0,
        stored_ns: record.updated_ns,
    }
}
