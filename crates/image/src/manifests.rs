//! What a name leads to, whole: the manifests of an image for several platforms, stored here or not.

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::manifest::{Document, MAX_DOCUMENT_SIZE};
use oci::platform::Platform;
use store::Content;

use crate::error::Result;
use crate::image::{Image, parse_document};
use crate::images::Images;

/// The annotation that names the manifest which an attestation is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// One manifest that a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    pub descriptor: Descriptor,
    pub kind: ManifestKind,
    /// All that it names is stored.
    pub is_available: bool,
    /// Of what is stored of it.
    pub content_bytes: u64,
}

/// What a manifest is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    /// `id` is the digest of its configuration, if that is stored. Files that were unpacked have `unpacked_bytes`.
    Image { platform: Platform, id: Option<Digest>, unpacked_bytes: u64 },
    /// It describes another one (provenance, signature).
    Attestation { of: String },
}

impl Images {
    /// The manifests of an image, in the order of its index.
    pub fn manifests(&self, image: &Image) -> Result<Vec<ImageManifest>> {
        let bytes = self.store.content().read_small(&image.target.digest, MAX_DOCUMENT_SIZE as u64)?;
        let entries = match parse_document(&bytes, &image.target)? {
            Document::Manifest(_) => vec![image.target.clone()],
            Document::Index(index) => index.manifests,
        };
        entries.into_iter().map(|entry| self.manifest(image, entry)).collect()
    }

    fn manifest(&self, image: &Image, entry: Descriptor) -> Result<ImageManifest> {
        let content = self.store.content();
        // What cannot be read as an image is not one that is there.
        let documents = match content.info(&entry.digest)? {
            Some(_) => self.documents(&entry).ok(),
            None => None,
        };
        let mut blobs = vec![&entry.digest];
        if let Some(documents) = &documents {
            blobs.push(&documents.manifest.config.digest);
            blobs.extend(documents.manifest.layers.iter().map(|layer| &layer.digest));
        }
        let (content_bytes, is_whole) = stored(content, &blobs)?;
        let kind = match entry.is_attestation() {
            true => ManifestKind::Attestation {
                of: entry.annotations.get(REFERENCE_DIGEST).cloned().unwrap_or_default(),
            },
            false => ManifestKind::Image {
                platform: match (&documents, &entry.platform) {
                    (Some(documents), _) => documents.config.platform.clone(),
                    (None, Some(platform)) => platform.clone(),
                    (None, None) => Platform::default(),
                },
                id: documents.as_ref().map(|documents| documents.manifest.config.digest.clone()),
                unpacked_bytes: if entry.digest == image.manifest { self.unpacked_bytes(image)? } else { 0 },
            },
        };
        Ok(ImageManifest {
            is_available: is_whole && (documents.is_some() || entry.is_attestation()),
            descriptor: entry,
            kind,
            content_bytes,
        })
    }
}

/// The bytes of those blobs that are stored, and whether all are.
fn stored(content: &Content, blobs: &[&Digest]) -> Result<(u64, bool)> {
    let (mut bytes, mut is_whole) = (0, true);
    for digest in blobs {
        match content.info(digest)? {
            Some(blob) => bytes += blob.size,
            None => is_whole = false,
        }
    }
    Ok((bytes, is_whole))
}
