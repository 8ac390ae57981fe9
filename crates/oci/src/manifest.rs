//! Image manifests and indexes: OCI image specification 1.1 and Docker's manifest schema 2.
//!
//! One document must have one meaning. A document that could be read both as a manifest and as an index, or
//! whose own media type contradicts the descriptor that led to it, is refused (CVE-2021-41190); so are repeated
//! keys and Docker's schema 1.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::descriptor::Descriptor;

/// Largest manifest, index or image configuration; registries and containerd draw the same line.
pub const MAX_DOCUMENT_SIZE: usize = 4 << 20;
/// Most layers of one image and most entries of one index. Overlayfs stops at 500; real images stay below 130.
pub const MAX_ENTRIES: usize = 4096;

/// Media types of documents and layers.
pub mod media_type {
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    /// Docker's types with their names in the image specification, layers that may not be passed on among them.
    const NAMES: [(&str, &str); 7] = [
        (DOCKER_LIST, OCI_INDEX),
        (DOCKER_MANIFEST, OCI_MANIFEST),
        (DOCKER_CONFIG, OCI_CONFIG),
        (DOCKER_LAYER, OCI_LAYER),
        (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
    ];

    /// The same type by its name in the image specification.
    pub fn in_oci_words(media_type: &str) -> &str {
        NAMES.iter().find(|(docker, _)| *docker == media_type).map_or(media_type, |(_, oci)| *oci)
    }

    /// Whether this is a type of Docker's.
    pub fn is_docker(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.docker.")
    }

    /// The type of a layer when it is not compressed any more; none for what is not a compressed layer.
    pub fn uncompressed(media_type: &str) -> Option<&str> {
        let is_known = media_type.starts_with("application/vnd.oci.image.layer.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.");
        let endings = ["+gzip", "+zstd", ".gzip"];
        endings.iter().find_map(|ending| media_type.strip_suffix(ending)).filter(|_| is_known)
    }

    /// Whether this names a single image's manifest.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether this names a list of manifests.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_LIST)
    }
}

/// One image: its configuration and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    pub config: Descriptor,
    #[serde(deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Several images, usually one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Either of the two, told apart by content.
// Documents are handled one at a time: there are never so many that their size would count.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// Why a document is not a manifest or an index.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the document is both a manifest and an index")]
    Ambiguous,
    #[error("the document is not valid JSON of its type")]
    Json(#[source] serde_json::Error),
    #[error("the document calls itself `{found}` where `{expected}` was announced")]
    MediaType { expected: String, found: String },
    #[error("the document is neither a manifest nor an index")]
    Neither,
    #[error("the document has schema version {0}; only 2 is supported")]
    SchemaVersion(u32),
    #[error("the document has {0} bytes, more than {MAX_DOCUMENT_SIZE}")]
    TooLarge(usize),
    #[error("the document lists {0} entries, more than {MAX_ENTRIES}")]
    TooManyEntries(usize),
}

impl Document {
    /// Parses a document. `media_type` is what its descriptor announced; empty when nothing did.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Document, ManifestError> {
        let outline = Outline::parse(bytes)?;
        let is_index = outline.manifests.is_some();
        if is_index && (outline.layers.is_some() || outline.config.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        if outline.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(outline.schema_version));
        }
        if !is_index && outline.config.is_none() {
            return Err(ManifestError::Neither);
        }
        outline.check_media_type(is_index, media_type)?;
        let document = if is_index {
            Document::Index(serde_json::from_slice(bytes).map_err(ManifestError::Json)?)
        } else {
            Document::Manifest(serde_json::from_slice(bytes).map_err(ManifestError::Json)?)
        };
        match document.entries() {
            entries if entries > MAX_ENTRIES => Err(ManifestError::TooManyEntries(entries)),
            _ => Ok(document),
        }
    }

    fn entries(&self) -> usize {
        match self {
            Document::Index(index) => index.manifests.len(),
            Document::Manifest(manifest) => manifest.layers.len(),
        }
    }
}

impl Manifest {
    /// Parses a document that must be a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        match Document::parse(bytes, "")? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(kind_mismatch(media_type::OCI_MANIFEST, media_type::OCI_INDEX)),
        }
    }

    /// The manifest of an image that we make ourselves, in OCI's media types.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.into(),
            artifact_type: String::new(),
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The document's bytes; the same manifest always gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has only text keys")
    }
}

impl Index {
    /// An OCI index of these.
    pub fn of(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            artifact_type: String::new(),
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Parses a document that must be an index.
    pub fn parse(bytes: &[u8]) -> Result<Index, ManifestError> {
        match Document::parse(bytes, "")? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(kind_mismatch(media_type::OCI_INDEX, media_type::OCI_MANIFEST)),
        }
    }
}

fn kind_mismatch(expected: &str, found: &str) -> ManifestError {
    ManifestError::MediaType { expected: expected.into(), found: found.into() }
}

/// The keys that decide what a document is, whatever their values are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

impl Outline {
    fn parse(bytes: &[u8]) -> Result<Outline, ManifestError> {
        if bytes.len() > MAX_DOCUMENT_SIZE {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(ManifestError::Json)
    }

    fn check_media_type(&self, is_index: bool, announced: &str) -> Result<(), ManifestError> {
        let fits = |name: &str| match is_index {
            true => media_type::is_index(name),
            false => media_type::is_manifest(name),
        };
        let actual = if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        for name in [announced, &self.media_type] {
            if !name.is_empty() && !fits(name) {
                return Err(kind_mismatch(name, actual));
            }
        }
        if !announced.is_empty() && !self.media_type.is_empty() && announced != self.media_type {
            return Err(kind_mismatch(announced, &self.media_type));
        }
        Ok(())
    }
}

/// Go writes an empty list or map as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn descriptor(media_type: &str) -> Descriptor {
        Descriptor::of(media_type, b"{}")
    }

    fn parse_error(json: &str, announced: &str) -> String {
        Document::parse(json.as_bytes(), announced).unwrap_err().to_string()
    }

    #[test]
    fn a_document_with_two_meanings_is_refused() {
        let d = serde_json::to_string(&descriptor(media_type::OCI_CONFIG)).unwrap();
        for json in [
            format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"manifests":[]}}"#),
            format!(r#"{{"schemaVersion":2,"layers":[{d}],"manifests":[{d}]}}"#),
            format!(r#"{{"schemaVersion":2,"config":{d},"manifests":[{d}]}}"#),
        ] {
            assert!(parse_error(&json, "").contains("both"), "{json}");
        }
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[]}}"#);
        assert!(parse_error(&manifest, media_type::OCI_INDEX).contains("announced"));
        let lying = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{d},"layers":[]}}"#,
            media_type::OCI_INDEX
        );
        assert!(parse_error(&lying, "").contains("announced"));
        let other = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{d},"layers":[]}}"#,
            media_type::DOCKER_MANIFEST
        );
        assert!(parse_error(&other, media_type::OCI_MANIFEST).contains("announced"));
    }

    #[test]
    fn malformed_documents_are_refused() {
        let d = serde_json::to_string(&descriptor(media_type::OCI_CONFIG)).unwrap();
        let cases = [
            ("", "JSON"),
            ("[]", "JSON"),
            ("{}", "schema version 0"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema version 1"),
            (r#"{"schemaVersion":2}"#, "neither"),
            (r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1}]}"#, "JSON"),
            (r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#, "JSON"),
            (&format!(r#"{{"schemaVersion":2,"config":{d}}}"#), "JSON"),
            (
                &format!(
                    r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
                    d.replace("\"size\":2", "\"size\":-2")
                ),
                "JSON",
            ),
        ];
        for (json, expected) in cases {
            let found = parse_error(json, "");
            assert!(found.contains(expected), "{json}: {found}");
        }
    }

    #[test]
    fn bounds_hold() {
        let large = vec![b' '; MAX_DOCUMENT_SIZE + 1];
        assert!(matches!(Document::parse(&large, ""), Err(ManifestError::TooLarge(_))));
        let mut manifest = Manifest::new(descriptor(media_type::OCI_CONFIG), Vec::new());
        manifest.layers = vec![descriptor(media_type::OCI_LAYER); MAX_ENTRIES + 1];
        assert!(matches!(Manifest::parse(&manifest.to_json()), Err(ManifestError::TooManyEntries(4097))));
        let deep = format!("{{\"schemaVersion\":2,\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Document::parse(deep.as_bytes(), "").is_err());
    }

    #[test]
    fn gos_null_lists_are_empty() {
        let d = serde_json::to_string(&descriptor(media_type::OCI_CONFIG)).unwrap();
        let json = format!(r#"{{"schemaVersion":2,"config":{d},"layers":null,"annotations":null}}"#);
        assert_eq!(Manifest::parse(json.as_bytes()).unwrap().layers, Vec::new());
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Document::parse(&bytes, "");
        }

        #[test]
        fn a_manifest_survives_its_own_json(sizes in prop::collection::vec(any::<u64>(), 0..20)) {
            let layers = sizes.iter().map(|size| Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&size.to_le_bytes()), *size));
            let manifest = Manifest::new(descriptor(media_type::OCI_CONFIG), layers.collect());
            prop_assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
        }
    }
}
