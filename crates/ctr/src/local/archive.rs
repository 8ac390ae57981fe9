//! An archive of images (an OCI layout, or what `docker save` writes) into the daemon's content, member by member as they come.
//!
//! A member below `blobs` must be what its name says; the daemon checks it. Members of docker's older form get manifests, made of what
//! is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufReader, Read};

use image::tar::{Entry, Kind, Reader};
use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::digest::Digest;
use oci::docker_archive::{self, SavedImage};
use oci::manifest::{Document, Index, MAX_DOCUMENT_SIZE, Manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;

use super::{DEPTH_MAX, document, holding, is_document};
use crate::client::Client;
use crate::content;
use crate::content::write::{self, Source, Upload, labelled};
use crate::error::Error;
use crate::images::tree::Node;
use crate::leases::generated;

const BUFFER_BYTES: usize = 256 << 10;
/// Links of an archive that lead to links: real ones lead to a file at once.
const LINKS_MAX: usize = 8;
/// Enough of a member to tell how it is compressed.
const MAGIC_BYTES: usize = 4;

/// What an archive has, in content; each image with what the archive says of it.
pub(crate) struct Found {
    pub(crate) index: Descriptor,
    pub(crate) images: Vec<Descriptor>,
}

/// How the images of an archive are called.
pub(crate) struct Names {
    /// What a whole name begins with, and what a lone tag is completed with.
    pub(crate) base: String,
    /// A whole name may begin otherwise.
    pub(crate) any: bool,
    /// Names by digest, too.
    pub(crate) with_digests: bool,
    /// But not for what has a name.
    pub(crate) skip_named: bool,
}

impl Names {
    /// The names of an image.
    pub(crate) fn of(&self, image: &Descriptor) -> Vec<String> {
        let annotation = |key| image.annotations.get(key).filter(|name| !name.is_empty());
        let name = match annotation(IMAGE_NAME) {
            Some(name) => self.completed(name).filter(|completed| completed == name),
            None => annotation(REF_NAME).and_then(|name| self.completed(name)),
        };
        let is_digested = self.with_digests && (name.is_none() || !self.skip_named);
        let digested = is_digested.then(|| format!("{}@{}", self.base, image.digest));
        name.into_iter().chain(digested).collect()
    }

    fn completed(&self, name: &str) -> Option<String> {
        if !name.contains(['/', ':', '@']) {
            return Some(format!("{}:{name}", self.base));
        }
        let rest = name.strip_prefix(&self.base);
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
        (self.any || is_below).then(|| name.to_owned())
    }
}

/// A member that is in content.
#[derive(Clone)]
struct Stored {
    digest: Digest,
    size: u64,
    magic: Vec<u8>,
}

/// The members of an archive by their names.
#[derive(Default)]
struct Members {
    stored: HashMap<String, Stored>,
    links: HashMap<String, String>,
    /// The documents that say what there is.
    index: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
}

/// The content of the current member.
struct Member<'a, R> {
    reader: &'a mut Reader<R>,
    magic: Vec<u8>,
}

impl<R: io::BufRead> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken = |error| io::Error::new(io::ErrorKind::InvalidData, told(&error));
        let content = self.reader.content().map_err(broken)?;
        let length = content.len().min(buffer.len());
        buffer[..length].copy_from_slice(&content[..length]);
        let room = MAGIC_BYTES.saturating_sub(self.magic.len()).min(length);
        self.magic.extend_from_slice(&buffer[..room]);
        self.reader.consume(length);
        Ok(length)
    }
}

/// A problem with its cause.
fn told(error: &image::tar::TarError) -> String {
    format!("{error}: {}", error.problem)
}

fn wrong(member: &str, reason: impl std::fmt::Display) -> Error {
    Error::Document { what: format!("the archive's {member}"), reason: reason.to_string() }
}

/// Stores what an archive has. Platforms: none stands for all.
pub(crate) async fn read(client: &Client, input: impl Read, platforms: &[Platform]) -> Result<Found, Error> {
    let failed = |source| Error::File { what: "read the archive".into(), source };
    let input = image::decompressed(input).map_err(failed)?;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, input));
    let mut members = Members::default();
    while let Some(entry) = reader.next_entry().map_err(|error| wrong("form", told(&error)))? {
        members.take(client, &entry, &mut reader).await?;
    }
    let images = match (&members.index, &members.manifest) {
        (Some(index), _) => members.layout(client, index, platforms).await?,
        (None, Some(manifest)) => members.saved(client, manifest).await?,
        (None, None) => return Err(wrong("form", "it has neither index.json nor manifest.json")),
    };
    let bytes = match members.index {
        Some(bytes) => bytes,
        // An archive of docker's has none.
        None => serde_json::to_vec(&Index::of(images.clone())).expect("it has only text keys"),
    };
    let index = Descriptor::of(media_type::OCI_INDEX, &bytes);
    put(client, &index, &bytes).await?;
    Ok(Found { index, images })
}

/// Stores a document, with what keeps what it names.
async fn put(client: &Client, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
    let labels = holding(&document(descriptor, bytes)?);
    write::document(client, (&descriptor.key(), descriptor.digest.as_str()), bytes, labels).await
}

impl Members {
    async fn take<R: io::BufRead>(
        &mut self,
        client: &Client,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), Error> {
        let name = plain(&String::from_utf8_lossy(&entry.path));
        match entry.kind {
            Kind::File if matches!(name.as_str(), "index.json" | "manifest.json") => {
                let bytes = small(&name, Member { reader, magic: Vec::new() })?;
                let slot = if name == "index.json" { &mut self.index } else { &mut self.manifest };
                *slot = Some(bytes);
            }
            // What they say, other documents say, too.
            Kind::File if matches!(name.as_str(), "oci-layout" | "repositories") => {}
            Kind::File => {
                let expected = blob(&name);
                let digest = expected.as_ref().map(Digest::to_string).unwrap_or_default();
                let key = match &expected {
                    Some(digest) => format!("import-{digest}"),
                    None => format!("import-{}", generated()),
                };
                let size = i64::try_from(entry.size).unwrap_or(i64::MAX);
                let mut member = Member { reader, magic: Vec::new() };
                let upload = Upload { size, digest: &digest, ..Upload::of(&key) };
                let written = write::write(client, upload, Source::Reader(&mut member)).await;
                let written = written.map_err(|error| error.while_doing(format!("store {name}")))?;
                let digest = Digest::parse(&written).map_err(|error| wrong(&name, error))?;
                let stored = Stored { digest, size: entry.size, magic: member.magic };
                self.stored.insert(name, stored);
            }
            Kind::Symlink => {
                let target = String::from_utf8_lossy(&entry.link).into_owned();
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.links.insert(name.clone(), plain(&format!("{folder}/{target}")));
            }
            Kind::HardLink => {
                self.links.insert(name, plain(&String::from_utf8_lossy(&entry.link)));
            }
            _ => {}
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Stored, Error> {
        let mut name = plain(name);
        for _ in 0..LINKS_MAX {
            if let Some(stored) = self.stored.get(&name) {
                return Ok(stored);
            }
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => break,
            }
        }
        Err(wrong("members", format!("{name:?} is missing")))
    }

    /// The images of an OCI layout.
    async fn layout(
        &self,
        client: &Client,
        index: &[u8],
        platforms: &[Platform],
    ) -> Result<Vec<Descriptor>, Error> {
        let index = Index::parse(index).map_err(|error| wrong("index.json", error))?;
        let fits = |entry: &Descriptor| match &entry.platform {
            Some(own) if !platforms.is_empty() => platforms.iter().any(|wanted| wanted.matches(own)),
            _ => true,
        };
        let images: Vec<Descriptor> = index.manifests.into_iter().filter(fits).collect();
        if images.is_empty() {
            return Err(wrong("index.json", "it has no image for the platform"));
        }
        let mut left: Vec<(Descriptor, usize)> = images.iter().map(|image| (image.clone(), 0)).collect();
        // Indexes may name one more often than anybody could follow.
        let mut seen = HashSet::new();
        while let Some((descriptor, depth)) = left.pop() {
            if depth == DEPTH_MAX {
                return Err(wrong("index.json", "its documents are nested too deeply"));
            }
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            // Of an index not all need to be there.
            let name = descriptor.digest.blob_path();
            if depth > 0 && !self.stored.contains_key(&name) {
                continue;
            }
            self.find(&name)?;
            let bytes = content::document(client, descriptor.digest.as_str()).await?;
            let parsed = document(&descriptor, &bytes)?;
            labelled(client, descriptor.digest.as_str(), &holding(&parsed)).await?;
            if let Document::Index(index) = parsed {
                let named = index.manifests.into_iter().filter(is_document);
                left.extend(named.map(|named| (named, depth + 1)));
            }
        }
        Ok(images)
    }

    /// The images that `docker save` wrote: each gets a manifest, once for each of its names.
    async fn saved(&self, client: &Client, manifest: &[u8]) -> Result<Vec<Descriptor>, Error> {
        let saved = docker_archive::parse(manifest).map_err(|error| wrong("manifest.json", error))?;
        let mut images = Vec::new();
        for SavedImage { config, repo_tags, layers } in saved {
            let found = self.find(&config)?;
            let config = Descriptor::new(media_type::OCI_CONFIG, found.digest.clone(), found.size);
            let layers = layers.iter().map(|layer| self.find(layer).map(layer_of));
            let manifest = Manifest::new(config, layers.collect::<Result<_, _>>()?);
            let bytes = manifest.to_json();
            let target = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
            put(client, &target, &bytes).await?;
            if repo_tags.is_empty() {
                images.push(target.clone());
            }
            for tag in &repo_tags {
                let name = Reference::parse_normalized(tag).map_err(|error| wrong("manifest.json", error))?;
                let annotations = BTreeMap::from([
                    (IMAGE_NAME.to_owned(), name.to_string()),
                    (REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned()),
                ]);
                images.push(Descriptor { annotations, ..target.clone() });
            }
        }
        Ok(images)
    }
}

fn layer_of(stored: &Stored) -> Descriptor {
    let kind = match stored.magic[..] {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    Descriptor::new(kind, stored.digest.clone(), stored.size)
}

/// A name without `.`, `..` and repeated slashes; it is only ever compared.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The digest of `blobs/<algorithm>/<digits>`.
fn blob(name: &str) -> Option<Digest> {
    let (algorithm, digits) = name.strip_prefix("blobs/")?.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{digits}")).ok()
}

fn small(name: &str, member: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = member.take(MAX_DOCUMENT_SIZE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::File { what: format!("read the archive's {name}"), source })?;
    match bytes.len() > MAX_DOCUMENT_SIZE {
        true => Err(wrong(name, format!("it has more than {MAX_DOCUMENT_SIZE} bytes"))),
        false => Ok(bytes),
    }
}

/// Lets the collector have an image's layers, which are unpacked.
pub(crate) async fn discard_layers(client: &Client, manifest: &Node) -> Result<(), Error> {
    let layers = manifest.children.len().saturating_sub(1);
    let labels = (0..layers).map(|number| (format!("{}.l.{number}", super::HELD), String::new())).collect();
    labelled(client, &manifest.digest, &labels).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str, name: &str) -> Descriptor {
        let annotations = BTreeMap::from([(key.to_owned(), name.to_owned())]);
        Descriptor { annotations, ..Descriptor::of(media_type::OCI_MANIFEST, b"x") }
    }

    #[test]
    fn images_are_called_as_they_are_or_below_the_base() {
        let names =
            |base: &str, any| Names { base: base.into(), any, with_digests: false, skip_named: false };
        let whole = named(IMAGE_NAME, "host/a/b:v1");
        let tag = named(REF_NAME, "v1");
        assert_eq!(names("import-day", true).of(&whole), ["host/a/b:v1"]);
        assert_eq!(names("import-day", true).of(&tag), ["import-day:v1"]);
        assert_eq!(names("host/a", false).of(&whole), ["host/a/b:v1"]);
        assert_eq!(names("host/a/b", false).of(&tag), ["host/a/b:v1"]);
        assert!(names("host/a/bb", false).of(&whole).is_empty());
        assert!(
            names("host/a/", false).of(&named(IMAGE_NAME, "v1")).is_empty(),
            "a whole name is not completed"
        );
        let digested = Names { with_digests: true, ..names("other", false) };
        assert_eq!(digested.of(&whole), [format!("other@{}", whole.digest)]);
        let skipping = Names { skip_named: true, with_digests: true, ..names("host/a", false) };
        assert_eq!(skipping.of(&whole), ["host/a/b:v1"]);
    }

    #[test]
    fn names_of_members_are_compared_without_detours() {
        assert_eq!(plain("./a//b/../c"), "a/c");
        assert_eq!(plain("../../a"), "a");
        let digits = "0".repeat(64);
        assert!(blob(&format!("blobs/sha256/{digits}")).is_some());
        assert!(blob("blobs/sha256/../x").is_none() && blob("x").is_none());
    }
}
