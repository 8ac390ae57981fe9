//! One image: its documents, read and checked.

use std::sync::Arc;

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::image_config::ImageConfig;
use oci::manifest::{Document, MAX_DOCUMENT_SIZE, Manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use store::Content;

use crate::error::{Error, LayerName, Result};

/// Most layers of an image: overlayfs stacks 500 directories, one of which is a container's own.
pub(crate) const MAX_LAYERS: usize = 499;
/// Most indexes in indexes; one is common, two exist.
pub(crate) const MAX_NESTING: u32 = 4;

/// An image as its documents describe it, with all its names.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration: what Docker calls the image's id.
    pub id: Digest,
    /// Digest of the manifest for this machine: what holds all of the image in the store.
    pub manifest: Digest,
    /// What the records name: the manifest, or an index that lists it.
    pub target: Descriptor,
    /// Sorted.
    pub names: Vec<Reference>,
    pub config: Arc<ImageConfig>,
    /// Lowest first, as stored.
    pub layers: Vec<Descriptor>,
    /// Bytes of all files, if it was unpacked; else of the layers as they are stored.
    pub size_bytes: u64,
    /// When the record was made.
    pub stored_ns: i64,
}

impl Image {
    /// The chain id of all layers: the name of the snapshot that containers are made on.
    pub fn chain_id(&self) -> Option<Digest> {
        oci::chain_id(&self.config.rootfs.diff_ids)
    }

    /// What the image is built for.
    pub fn platform(&self) -> &Platform {
        &self.config.platform
    }

    /// Whether this machine can run it. An image that does not say is taken at its user's word.
    pub fn is_for_this_machine(&self) -> bool {
        let platform = self.platform();
        platform.os.is_empty() || platform.architecture.is_empty() || Platform::host().matches(platform)
    }
}

/// The documents of an image for this machine. They are immutable, so whoever has them may keep them.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) config: Arc<ImageConfig>,
}

impl Documents {
    /// Reads the documents that a record's target leads to.
    pub(crate) fn read(content: &Content, target: &Descriptor) -> Result<Documents> {
        let mut target = target.clone();
        for _ in 0..MAX_NESTING {
            let bytes = read_document(content, &target.digest)?;
            match parse_document(&bytes, &target)? {
                Document::Manifest(manifest) => {
                    let config = read_document(content, &manifest.config.digest)?;
                    let config = check_image(&target.digest, &manifest, &config)?;
                    return Ok(Documents {
                        manifest_digest: target.digest,
                        manifest,
                        config: Arc::new(config),
                    });
                }
                Document::Index(index) => target = choose(content, index.manifests)?,
            }
        }
        Err(Error::Nesting)
    }
}

/// The bytes of a document, which must be what its digest says: the disk may have damaged it.
fn read_document(content: &Content, digest: &Digest) -> Result<Vec<u8>> {
    let bytes = content.read_small(digest, MAX_DOCUMENT_SIZE as u64)?;
    let actual = Digest::of(&bytes);
    if actual != *digest {
        return Err(Error::DamagedDocument { expected: digest.clone(), actual });
    }
    Ok(bytes)
}

/// Of an index, the entry for this machine; else the first that was stored, so that a foreign image can be shown.
fn choose(content: &Content, manifests: Vec<Descriptor>) -> Result<Descriptor> {
    let host = Platform::host();
    let mut present = Vec::new();
    for entry in manifests.into_iter().filter(|entry| !entry.is_attestation()) {
        if content.info(&entry.digest)?.is_some() {
            present.push(entry);
        }
    }
    let is_ours = |entry: &Descriptor| entry.platform.as_ref().is_some_and(|platform| host.matches(platform));
    let ours = present.iter().position(is_ours).unwrap_or(0);
    if present.is_empty() { Err(Error::NoLayers) } else { Ok(present.swap_remove(ours)) }
}

/// Parses a document as what its descriptor says.
pub(crate) fn parse_document(bytes: &[u8], descriptor: &Descriptor) -> Result<Document> {
    Document::parse(bytes, &descriptor.media_type)
        .map_err(|source| Error::Document { member: descriptor.digest.to_string(), source })
}

/// Checks that manifest and configuration are those of one image, whose layers can be unpacked.
pub(crate) fn check_image(digest: &Digest, manifest: &Manifest, config: &[u8]) -> Result<ImageConfig> {
    let config_type = manifest.config.media_type.as_str();
    if !matches!(config_type, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "") {
        return Err(Error::NotAnImage(digest.to_string(), config_type.to_owned()));
    }
    let config = ImageConfig::parse(config)
        .map_err(|source| Error::Config { member: manifest.config.digest.to_string(), source })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(Error::LayerCount { layers, diff_ids });
    }
    if layers == 0 {
        return Err(Error::NoLayers);
    }
    if layers > MAX_LAYERS {
        return Err(Error::TooManyLayers(layers));
    }
    for (position, layer) in manifest.layers.iter().enumerate() {
        let is_layer = layer.media_type.starts_with("application/vnd.oci.image.layer.")
            || layer.media_type.starts_with("application/vnd.docker.image.rootfs.");
        if !is_layer || layer.media_type.ends_with("+encrypted") {
            let layer_name = LayerName { number: position + 1, count: layers, digest: layer.digest.clone() };
            return Err(Error::LayerType { layer: layer_name, media_type: layer.media_type.clone() });
        }
    }
    Ok(config)
}
