//! The OCI image layout (`image-layout.md` of the image specification): `index.json` and `blobs/<algorithm>/<hex>`.
//!
//! An entry of the index is an image, or an index with one image for each platform. Such an index is kept, with the
//! image for this machine; the others are not stored, and what describes images (provenance, signatures) is not either, unless
//! all is wanted ([`Wanted`]).

use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::digest::Digest;
use oci::manifest::{Document, Index, Manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;

use super::{Load, Stored, Wanted};
use crate::error::{Error, Result};
use crate::image::{MAX_NESTING, check_image, parse_document};
use crate::images::parse_tag;

impl Load<'_> {
    pub(super) fn store_layout(&mut self, index: &[u8]) -> Result<Vec<Stored>> {
        let index = Index::parse(index)
            .map_err(|source| Error::Document { member: "index.json".to_owned(), source })?;
        let mut stored: Vec<Stored> = Vec::new();
        for entry in self.wanted.of(index.manifests, |_| true) {
            let name = if self.takes_names { name_of(&entry)? } else { None };
            let target = match stored.iter().find(|image| image.target.digest == entry.digest) {
                Some(image) => image.target.clone(),
                None => self.store_document(&entry, 0)?,
            };
            stored.push(Stored { target, names: name.into_iter().collect(), annotations: entry.annotations });
        }
        if stored.is_empty() {
            return Err(Error::NoImages);
        }
        Ok(stored)
    }

    /// Stores a manifest or an index with what it names; returns it as a record's target.
    fn store_document(&mut self, descriptor: &Descriptor, depth: u32) -> Result<Descriptor> {
        if depth == MAX_NESTING {
            return Err(Error::Nesting);
        }
        let Descriptor { digest, size, media_type: announced, .. } = descriptor;
        let key = (digest.clone(), *size, announced.clone());
        if self.documents.contains(&key) {
            return Ok(Descriptor::new(announced, digest.clone(), *size));
        }
        let bytes = self.blob_document(descriptor)?;
        let kind = match parse_document(&bytes, descriptor)? {
            Document::Manifest(manifest) => {
                self.store_image(&descriptor.digest, &manifest, &bytes)?;
                media_type::OCI_MANIFEST
            }
            Document::Index(index) => {
                self.store_index(descriptor, index, &bytes, depth)?;
                media_type::OCI_INDEX
            }
        };
        self.documents.insert(key);
        let kind = if announced.is_empty() { kind } else { announced };
        Ok(Descriptor::new(kind, digest.clone(), *size))
    }

    fn store_index(&mut self, descriptor: &Descriptor, index: Index, bytes: &[u8], depth: u32) -> Result<()> {
        let source = self.source;
        let is_there =
            |entry: &Descriptor| source.open(&entry.digest.blob_path()).is_ok_and(|file| file.is_some());
        let entries = self.wanted.of(index.manifests, is_there);
        if entries.is_empty() {
            return Err(Error::MissingMember(format!("a manifest of {}", descriptor.digest.blob_path())));
        }
        let mut children = Vec::new();
        for entry in entries {
            children.push(self.store_document(&entry, depth + 1)?.digest);
        }
        children.sort_unstable();
        children.dedup();
        let digest = self.put(bytes)?;
        self.hold(digest, children)
    }

    fn store_image(&mut self, digest: &Digest, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
        let config = self.blob_document(&manifest.config)?;
        if self.wanted == Wanted::Machine {
            check_image(digest, manifest, &config)?;
        }
        self.put(&config)?;
        for layer in &manifest.layers {
            self.store_blob(&layer.digest.blob_path(), Some((&layer.digest, layer.size)))?;
        }
        self.store_manifest(manifest, bytes)
    }

    /// A document of the archive, which must be what its descriptor says.
    fn blob_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let member = descriptor.digest.blob_path();
        let bytes = self.source.document(&member)?.ok_or_else(|| Error::MissingMember(member.clone()))?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::WrongSize { member, expected: descriptor.size, actual: bytes.len() as u64 });
        }
        let actual = Digest::of(&bytes);
        if actual != descriptor.digest {
            let source = store::Error::WrongDigest { expected: descriptor.digest.clone(), actual };
            return Err(Error::WrongContent { member, source });
        }
        Ok(bytes)
    }
}

impl Wanted {
    fn of(self, entries: Vec<Descriptor>, is_there: impl Fn(&Descriptor) -> bool) -> Vec<Descriptor> {
        match self {
            Wanted::Machine => for_this_machine(entries, is_there),
            Wanted::All => entries.into_iter().filter(is_there).collect(),
        }
    }
}

/// The entries that are images for this machine or do not say; if there are none, all images.
fn for_this_machine(entries: Vec<Descriptor>, is_there: impl Fn(&Descriptor) -> bool) -> Vec<Descriptor> {
    let host = Platform::host();
    let images: Vec<Descriptor> =
        entries.into_iter().filter(|entry| !entry.is_attestation() && is_there(entry)).collect();
    let is_ours = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(|platform| host.matches(platform));
    let ours: Vec<Descriptor> = images.iter().filter(is_ours).cloned().collect();
    if ours.is_empty() { images } else { ours }
}

/// The whole name in containerd's annotation, or the reference in the specification's, if it is more than a tag.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    let whole = entry.annotations.get(IMAGE_NAME);
    let reference = entry.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':']));
    whole.or(reference).map(|name| parse_tag(name)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os: &str, architecture: &str) -> Descriptor {
        let platform = Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() };
        let digest = Digest::of(format!("{os}/{architecture}").as_bytes());
        Descriptor { platform: Some(platform), ..Descriptor::new("", digest, 1) }
    }

    #[test]
    fn the_image_for_this_machine_is_taken() {
        let host = Platform::host();
        let ours = entry(&host.os, &host.architecture);
        let (foreign, attestation) = (entry("plan9", "z80"), entry("unknown", "unknown"));
        let all = vec![foreign.clone(), attestation.clone(), ours.clone()];
        assert_eq!(for_this_machine(all.clone(), |_| true), std::slice::from_ref(&ours));
        assert_eq!(for_this_machine(all, |entry| *entry != ours), [foreign]);
        assert_eq!(for_this_machine(vec![attestation], |_| true), []);
    }

    #[test]
    fn a_lone_tag_is_no_name() {
        let named = |key: &str, value: &str| {
            let mut entry = entry("linux", "amd64");
            entry.annotations.insert(key.into(), value.into());
            name_of(&entry).map(|name| name.map(|name| name.familiar()))
        };
        assert_eq!(named(REF_NAME, "latest").unwrap(), None);
        assert_eq!(named(REF_NAME, "a/b:v1").unwrap().as_deref(), Some("a/b:v1"));
        assert_eq!(named(IMAGE_NAME, "docker.io/library/a:v1").unwrap().as_deref(), Some("a:v1"));
        assert!(named(IMAGE_NAME, "../a:v1").is_err());
        assert!(named(REF_NAME, "A:B:C").is_err());
    }
}
