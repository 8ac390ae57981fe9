//! A descriptor: the reference by which one document names another (media type, digest, size).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::{media_type, null_as_default};
use crate::platform::Platform;

/// The annotation that holds a tag (or, from some tools, a whole name) in an OCI layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and its clients keep an image's whole name in an OCI archive.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation by which BuildKit marks manifests that describe another one.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// What is named, how large it is, and what it is. The fields are in the order in which Go's tools write them, so that a document that
/// they wrote and this one wrote again stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// Bytes. A negative number in the document is refused.
    pub size: u64,
    /// Where it may be had, too.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What it names, in base64.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

impl Descriptor {
    /// A descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// A descriptor of which no more is said.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: String::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }

    /// What containerd and its clients call a blob by while it is moved: `layer-sha256:…`.
    pub fn key(&self) -> String {
        let kind = self.media_type.as_str();
        let word = match kind {
            media_type::OCI_CONFIG | media_type::DOCKER_CONFIG => "config",
            _ if media_type::is_manifest(kind) => "manifest",
            _ if media_type::is_index(kind) => "index",
            _ if kind.contains(".image.layer.") || kind.contains(".image.rootfs.") => "layer",
            _ => "unknown",
        };
        format!("{word}-{}", self.digest)
    }

    /// Whether this entry of an index describes another image (signature, provenance) instead of being one.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}
