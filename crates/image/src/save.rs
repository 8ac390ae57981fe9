//! Saving images: one archive that is an OCI layout and what `docker load` reads, for any number of images.
//!
//! ```text
//! blobs/sha256/<hex>   documents and layers, as they are stored
//! index.json           OCI: an entry for each name, or one for an image without
//! manifest.json        docker: an entry for each image
//! oci-layout
//! repositories         docker before 1.10: name → tag → layer
//! ```
//!
//! What is in the archive is decided, and pinned, before the first byte is written. The bytes depend on the images and
//! their names alone. Blobs are hashed on their way out: the disk may have damaged them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read, Write};
use std::sync::Arc;

use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::digest::{Digest, Hasher};
use oci::docker_archive::SavedImage;
use oci::manifest::{Document, Index, MAX_DOCUMENT_SIZE, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use store::{Blob, Pin, Store};

use crate::error::{Error, Result};
use crate::image::{Documents, MAX_NESTING, parse_document};
use crate::images::{Images, reference_of};
use crate::tar::{Entry, Kind, Writer};

const BUFFER_SIZE: usize = 256 << 10;

/// An archive that is ready to be written.
pub struct Saving {
    store: Arc<Store>,
    ids: Vec<Digest>,
    /// By name. A name that ends with a slash is a directory.
    members: BTreeMap<String, Content>,
    /// Keep the blobs from being collected.
    pins: Vec<Pin>,
}

impl std::fmt::Debug for Saving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saving").field("members", &self.members).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Content {
    Directory,
    Bytes(Vec<u8>),
    Blob(Blob),
}

/// One image of an archive.
struct Chosen {
    /// What its names lead to.
    target: Descriptor,
    documents: Arc<Documents>,
    names: BTreeSet<Reference>,
}

impl Images {
    /// Decides what an archive of these images holds; each is that of the first of the namespaces that has it. A name without a
    /// tag means all tags of its repository. Of images for several platforms all that are stored are saved, or the one that is
    /// asked for.
    pub fn save(
        &self,
        namespaces: &[String],
        names: &[String],
        platform: Option<&Platform>,
    ) -> Result<Saving> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            for (target, name) in self.named_in_one_of(namespaces, name)? {
                let shown = name.as_ref().map_or_else(|| target.digest.to_string(), Reference::familiar);
                let (target, documents) = self.for_platform(&shown, target, platform)?;
                let names = name.into_iter();
                match chosen.iter_mut().find(|image| image.target.digest == target.digest) {
                    Some(image) => image.names.extend(names),
                    None => chosen.push(Chosen { target, documents, names: names.collect() }),
                }
            }
        }
        if chosen.is_empty() {
            return Err(Error::NoImages);
        }
        let ids = chosen.iter().map(|image| image.documents.manifest.config.digest.clone()).collect();
        let mut archive =
            Saving { store: self.store.clone(), ids, members: BTreeMap::new(), pins: Vec::new() };
        for directory in ["blobs/", "blobs/sha256/"] {
            archive.members.insert(directory.to_owned(), Content::Directory);
        }
        for image in &chosen {
            self.add(&image.target, 0, &mut HashSet::new(), &mut archive)?;
        }
        for (name, bytes) in documents(&chosen) {
            archive.members.insert(name.to_owned(), Content::Bytes(bytes));
        }
        Ok(archive)
    }

    fn named_in_one_of(
        &self,
        namespaces: &[String],
        name: &str,
    ) -> Result<Vec<(Descriptor, Option<Reference>)>> {
        let mut missing = Error::NoSuchImage(name.to_owned());
        for namespace in namespaces {
            match self.named(namespace, name) {
                Err(error @ Error::NoSuchImage(_)) => missing = error,
                found => return found,
            }
        }
        Err(missing)
    }

    /// What a person means by a name: images, each with the name that it is saved under.
    fn named(&self, namespace: &str, name: &str) -> Result<Vec<(Descriptor, Option<Reference>)>> {
        let parsed = Reference::parse_named(name).ok();
        if let Some(wanted) = parsed.filter(|name| name.tag().is_none() && name.digest().is_none()) {
            let records = self.records(namespace)?.into_iter();
            let tagged = records.filter_map(|record| {
                let own = reference_of(&record).filter(|own| own.repository() == wanted.repository())?;
                own.tag().is_some().then_some((record.target, Some(own)))
            });
            let tagged: Vec<_> = tagged.collect();
            if !tagged.is_empty() {
                return Ok(tagged);
            }
        }
        let own = self.record(namespace, name)?.as_ref().and_then(reference_of);
        let own = own.filter(|own| own.tag().is_some());
        // Docker repeats the name as it was given here, and completes it elsewhere.
        let image = self.resolve(namespace, name).map_err(|error| match error {
            Error::NoSuchImage(_) => Error::NoSuchImage(name.to_owned()),
            error => error,
        })?;
        Ok(vec![(image.target, own)])
    }

    /// The documents that are saved of an image. As with pushes, an index goes only when all that it names is here.
    fn for_platform(
        &self,
        name: &str,
        target: Descriptor,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Arc<Documents>)> {
        let content = self.store.content();
        let is_there = |entry: &Descriptor| content.info(&entry.digest).is_ok_and(|blob| blob.is_some());
        let chosen = match (self.document(&target)?, platform) {
            (Document::Index(index), Some(platform)) => {
                let fits = |entry: &&Descriptor| {
                    entry.platform.as_ref().is_some_and(|entry| platform.matches(entry)) && is_there(entry)
                };
                index.manifests.iter().find(fits).cloned()
            }
            (Document::Index(index), None) if index.manifests.len() > 1 => {
                let own = self.documents(&target)?.manifest_digest.clone();
                index.manifests.into_iter().find(|entry| entry.digest == own)
            }
            _ => None,
        };
        let target = chosen.unwrap_or(target);
        let documents = self.documents(&target)?;
        let available = &documents.config.platform;
        match platform.filter(|platform| !platform.matches(available)) {
            Some(wanted) => Err(Error::NoPlatform {
                name: name.to_owned(),
                wanted: wanted.to_string(),
                available: available.to_string(),
            }),
            None => Ok((Descriptor { annotations: BTreeMap::new(), ..target }, documents)),
        }
    }

    fn document(&self, target: &Descriptor) -> Result<Document> {
        parse_document(&self.store.content().read_small(&target.digest, MAX_DOCUMENT_SIZE as u64)?, target)
    }

    /// Adds a document and all that it names, and keeps them from being collected.
    /// None is added twice: indexes may name one more often than anybody could follow.
    fn add(
        &self,
        target: &Descriptor,
        depth: u32,
        added: &mut HashSet<Digest>,
        archive: &mut Saving,
    ) -> Result<()> {
        if depth == MAX_NESTING {
            return Err(Error::Nesting);
        }
        if !added.insert(target.digest.clone()) {
            return Ok(());
        }
        self.add_blob(&target.digest, archive)?;
        match self.document(target)? {
            Document::Index(index) => {
                index.manifests.iter().try_for_each(|entry| self.add(entry, depth + 1, added, archive))
            }
            Document::Manifest(manifest) => {
                let mut blobs = manifest.layers.iter().chain([&manifest.config]);
                blobs.try_for_each(|blob| self.add_blob(&blob.digest, archive))
            }
        }
    }

    fn add_blob(&self, digest: &Digest, archive: &mut Saving) -> Result<()> {
        let content = self.store.content();
        archive.pins.push(content.pin(digest));
        let blob = content
            .info(digest)?
            .ok_or_else(|| store::Error::NotFound { kind: "content", name: digest.to_string() })?;
        archive.members.insert(digest.blob_path(), Content::Blob(blob));
        Ok(())
    }
}

impl Saving {
    /// The ids of its images.
    pub fn ids(&self) -> &[Digest] {
        &self.ids
    }

    /// Leaves out the lists that only docker reads.
    pub fn skip_docker(&mut self) {
        self.members.remove("manifest.json");
        self.members.remove("repositories");
    }

    /// Writes the archive.
    pub fn write(self, output: impl Write) -> Result<()> {
        let mut writer = Writer::new(output);
        let mut buffer = vec![0; BUFFER_SIZE];
        for (name, content) in &self.members {
            let failed = |source| Error::File { what: "save", path: name.into(), source };
            let (kind, size) = match content {
                Content::Directory => (Kind::Directory, 0),
                Content::Bytes(bytes) => (Kind::File, bytes.len() as u64),
                Content::Blob(blob) => (Kind::File, blob.size),
            };
            writer.entry(&entry(name, kind, size)).map_err(failed)?;
            match content {
                Content::Directory => {}
                Content::Bytes(bytes) => drop(writer.content(bytes).map_err(failed)?),
                Content::Blob(blob) => self.copy(&blob.digest, &mut writer, &mut buffer)?,
            }
        }
        let failed = |source| Error::File { what: "save", path: "the archive's end".into(), source };
        writer.finish().map_err(failed)?;
        Ok(())
    }

    fn copy(&self, digest: &Digest, writer: &mut Writer<impl Write>, buffer: &mut [u8]) -> Result<()> {
        let failed = |source| Error::File { what: "save", path: digest.blob_path().into(), source };
        let mut file = self.store.content().open_blob(digest)?;
        let mut hasher = Hasher::default();
        loop {
            let length = match file.read(buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length.map_err(failed)?,
            };
            hasher.update(&buffer[..length]);
            writer.content(&buffer[..length]).map_err(failed)?;
        }
        let actual = hasher.finish();
        match actual == *digest {
            true => Ok(()),
            false => Err(Error::DamagedDocument { expected: digest.clone(), actual }),
        }
    }
}

fn entry(name: &str, kind: Kind, size: u64) -> Entry {
    Entry { size, ..Entry::new(kind, name) }
}

/// The documents that list the images.
fn documents(images: &[Chosen]) -> [(&'static str, Vec<u8>); 4] {
    [
        ("index.json", json(&index(images))),
        ("manifest.json", json(&saved(images))),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("repositories", json(&repositories(images))),
    ]
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these documents have only text keys")
}

fn index(images: &[Chosen]) -> Index {
    let entries = images.iter().flat_map(|image| {
        let nameless = Descriptor {
            media_type: match image.target.media_type.as_str() {
                // Whoever reads it wants to know what it gets.
                "" if image.target.digest == image.documents.manifest_digest => {
                    media_type::OCI_MANIFEST.into()
                }
                "" => media_type::OCI_INDEX.into(),
                known => known.to_owned(),
            },
            ..image.target.clone()
        };
        let named = image.names.iter().map(|name| Descriptor {
            annotations: BTreeMap::from([
                (IMAGE_NAME.to_owned(), name.to_string()),
                (REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned()),
            ]),
            ..nameless.clone()
        });
        let named: Vec<Descriptor> = named.collect();
        if named.is_empty() { vec![nameless] } else { named }
    });
    Index::of(entries.collect())
}

fn saved(images: &[Chosen]) -> Vec<SavedImage> {
    let saved = images.iter().map(|image| SavedImage {
        config: image.documents.manifest.config.digest.blob_path(),
        repo_tags: image.names.iter().map(Reference::familiar).collect(),
        layers: image.documents.manifest.layers.iter().map(|layer| layer.digest.blob_path()).collect(),
    });
    saved.collect()
}

fn repositories(images: &[Chosen]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in images {
        let Some(top) = image.documents.manifest.layers.last() else { continue };
        for name in &image.names {
            let tags = repositories.entry(name.familiar_repository()).or_default();
            tags.insert(name.tag().unwrap_or_default().to_owned(), top.digest.hex().to_owned());
        }
    }
    repositories
}
