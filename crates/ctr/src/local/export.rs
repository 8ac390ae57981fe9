//! Images of the daemon into an archive: an OCI layout, with the list that docker reads.

use std::collections::BTreeMap;
use std::io::Write;

use image::tar::{Entry, Kind, Writer};
use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::docker_archive::SavedImage;
use oci::manifest::{Document, Index, Manifest};
use oci::platform::Platform;
use oci::reference::Reference;

use super::fetch::chosen;
use super::{descriptor, document};
use crate::client::Client;
use crate::content;
use crate::error::Error;
use crate::images;

/// What is exported, and how.
pub(crate) struct Export<'a> {
    pub(crate) client: &'a Client,
    /// All, when there is none.
    pub(crate) platforms: Vec<Platform>,
    /// Without the list that only docker reads.
    pub(crate) skip_docker: bool,
    /// Without layers whose media type forbids to pass them on.
    pub(crate) skip_bound: bool,
}

/// What goes into the archive.
#[derive(Default)]
struct Contents {
    index: Vec<Descriptor>,
    saved: Vec<SavedImage>,
    blobs: BTreeMap<String, Descriptor>,
}

impl Export<'_> {
    pub(crate) async fn run(&self, names: &[String], output: impl Write) -> Result<(), Error> {
        let mut contents = Contents::default();
        for name in names {
            let image = images::get(self.client, name).await?;
            self.add(name, descriptor(&image.target.unwrap_or_default())?, &mut contents).await?;
        }
        let failed = |source| Error::File { what: "write the archive".into(), source };
        let mut writer = Writer::new(output);
        for (name, blob) in &contents.blobs {
            writer.entry(&entry(name, blob.size)).map_err(failed)?;
            let mut pieces = content::pieces(self.client, blob.digest.as_str());
            while let Some(piece) = pieces.recv().await {
                writer.content(&piece.map_err(failed)?).map_err(failed)?;
            }
            if writer.remaining() > 0 {
                let reason = format!("it has {} bytes less than it should", writer.remaining());
                return Err(Error::Document { what: format!("content {}", blob.digest), reason });
            }
        }
        let index = serde_json::to_vec(&Index::of(contents.index)).expect("it has only text keys");
        let saved = serde_json::to_vec(&contents.saved).expect("it has only text keys");
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
        let documents = [("index.json", index), ("manifest.json", saved), ("oci-layout", layout)];
        for (name, bytes) in documents {
            if name == "manifest.json" && self.skip_docker {
                continue;
            }
            writer.entry(&entry(name, bytes.len() as u64)).map_err(failed)?;
            writer.content(&bytes).map_err(failed)?;
        }
        writer.finish().map(drop).map_err(failed)
    }

    /// Adds an image with all that is to be passed on of it.
    async fn add(&self, name: &str, target: Descriptor, contents: &mut Contents) -> Result<(), Error> {
        let reference = Reference::parse_normalized(name).ok();
        let tag = reference.as_ref().and_then(|name| name.tag()).unwrap_or(name).to_owned();
        let annotations = [(IMAGE_NAME.to_owned(), name.to_owned()), (REF_NAME.to_owned(), tag)].into();
        contents.index.push(Descriptor { annotations, ..target.clone() });
        let mut left = vec![target];
        while let Some(entry) = left.pop() {
            // Indexes may name one more often than anybody could follow.
            if contents.blobs.contains_key(&entry.digest.blob_path()) {
                continue;
            }
            let bytes = content::document(self.client, entry.digest.as_str()).await?;
            match document(&entry, &bytes)? {
                Document::Index(index) => left.extend(self.here(chosen(&index, &self.platforms)?).await?),
                Document::Manifest(manifest) => self.add_manifest(&manifest, reference.as_ref(), contents),
            }
            contents.blobs.insert(entry.digest.blob_path(), entry);
        }
        Ok(())
    }

    /// Those that are here: of all platforms as many as there are, of those that are asked for all.
    async fn here(&self, named: Vec<Descriptor>) -> Result<Vec<Descriptor>, Error> {
        let mut here = Vec::new();
        for child in named {
            if super::is_here(self.client, &child).await? {
                here.push(child);
            } else if !self.platforms.is_empty() {
                let reason = "it is named by the image, and not here".to_owned();
                return Err(Error::Document { what: format!("content {}", child.digest), reason });
            }
        }
        Ok(here)
    }

    fn add_manifest(&self, manifest: &Manifest, name: Option<&Reference>, contents: &mut Contents) {
        let is_bound = |kind: &str| kind.contains(".nondistributable.") || kind.contains(".foreign.");
        let layers = manifest.layers.iter().filter(|layer| !self.skip_bound || !is_bound(&layer.media_type));
        for blob in [&manifest.config].into_iter().chain(layers) {
            contents.blobs.insert(blob.digest.blob_path(), blob.clone());
        }
        contents.saved.push(SavedImage {
            config: manifest.config.digest.blob_path(),
            repo_tags: name.map(Reference::familiar).into_iter().collect(),
            layers: manifest.layers.iter().map(|layer| layer.digest.blob_path()).collect(),
        });
    }
}

fn entry(name: &str, size: u64) -> Entry {
    Entry { size, ..Entry::new(Kind::File, name) }
}
