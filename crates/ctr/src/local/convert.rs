//! An image of the daemon in another form: other media types, layers that are not compressed, fewer platforms.
//!
//! A document is written again when something in it has changed, and only then; as containerd's own client writes it, so that both make
//! the same of the same image. Configurations stay as they are: what a layer is called by in them is its form without compression.

use std::collections::HashMap;
use std::io::{self, Read};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use grpc::content::InfoRequest;
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::image_config::ImageConfig;
use oci::manifest::{Document, Index, Manifest, media_type};
use oci::platform::Platform;
use tokio::sync::mpsc;

use super::{DEPTH_MAX, HELD, descriptor, document, holding, is_document};
use crate::blocking::blocking;
use crate::client::Client;
use crate::content::write::{self, Source, Upload, labelled};
use crate::error::Error;
use crate::{content, images};

/// Pieces of a layer that wait for the daemon, and how large they are.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 256 << 10;
/// What a compressed blob is called when it is not.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// What is done to an image.
pub(crate) struct Conversion<'a> {
    pub(crate) client: &'a Client,
    /// Those that stay; all, when there is none.
    pub(crate) platforms: Vec<Platform>,
    /// Layers are stored without compression.
    pub(crate) uncompresses: bool,
    /// Docker's media types become those of the image specification.
    pub(crate) renames: bool,
}

impl Conversion<'_> {
    /// Converts the image `source` and names the result `target`, whoever has the name now; its digest.
    pub(crate) async fn run(&self, source: &str, target: &str) -> Result<String, Error> {
        let image = images::get(self.client, source).await?;
        let converted = self.document(descriptor(&image.target.unwrap_or_default())?, 0).await?;
        super::name(self.client, target, &converted, &image.labels).await?;
        Ok(converted.digest.to_string())
    }

    /// What becomes of an index or a manifest, and all that it names.
    fn document(&self, entry: Descriptor, depth: usize) -> LocalBoxFuture<'_, Result<Descriptor, Error>> {
        async move {
            if depth == DEPTH_MAX {
                return Err(wrong(&entry, "its documents are nested too deeply"));
            }
            let before = document(&entry, &content::document(self.client, entry.digest.as_str()).await?)?;
            let after = match before.clone() {
                Document::Index(index) => Document::Index(self.index(&entry, index, depth).await?),
                Document::Manifest(manifest) => Document::Manifest(self.manifest(&entry, manifest).await?),
            };
            let entry = if after == before { entry } else { self.write(&entry, &after).await? };
            Ok(self.named(entry))
        }
        .boxed_local()
    }

    async fn index(&self, entry: &Descriptor, mut index: Index, depth: usize) -> Result<Index, Error> {
        index.media_type = self.renamed(&index.media_type);
        index.manifests.retain(|one| one.platform.as_ref().is_none_or(|own| self.keeps(own)));
        if index.manifests.is_empty() {
            return Err(wrong(entry, "it has nothing for the platforms that are to stay"));
        }
        for one in &mut index.manifests {
            *one = match is_document(one) {
                true => self.document(one.clone(), depth + 1).await?,
                false => self.named(one.clone()),
            };
        }
        Ok(index)
    }

    /// Whether something for the platform stays: for the very same, not for one that runs there, too.
    fn keeps(&self, own: &Platform) -> bool {
        let is_same = |kept: &Platform| kept.matches(own) && own.matches(kept);
        self.platforms.is_empty() || self.platforms.iter().any(is_same)
    }

    async fn manifest(&self, entry: &Descriptor, mut manifest: Manifest) -> Result<Manifest, Error> {
        manifest.media_type = self.renamed(&manifest.media_type);
        let is_compressed = |layer: &Descriptor| media_type::uncompressed(&layer.media_type).is_some();
        let diff_ids = match self.uncompresses && manifest.layers.iter().any(is_compressed) {
            true => self.diff_ids(entry, &manifest).await?,
            false => Vec::new(),
        };
        for (number, layer) in manifest.layers.iter_mut().enumerate() {
            let uncompressed = match (media_type::uncompressed(&layer.media_type), diff_ids.get(number)) {
                (Some(kind), Some(diff_id)) => self.uncompressed(layer, kind, diff_id).await?,
                _ => layer.clone(),
            };
            *layer = self.named(uncompressed);
        }
        manifest.config = self.named(manifest.config);
        Ok(manifest)
    }

    /// What the layers are when they are not compressed, as the configuration says.
    async fn diff_ids(&self, entry: &Descriptor, manifest: &Manifest) -> Result<Vec<Digest>, Error> {
        let config = &manifest.config;
        let bytes = content::document(self.client, config.digest.as_str()).await?;
        let parsed = ImageConfig::parse(&bytes).map_err(|error| wrong(config, error))?;
        let diff_ids = parsed.rootfs.diff_ids;
        match diff_ids.len() == manifest.layers.len() {
            true => Ok(diff_ids),
            false => Err(wrong(
                entry,
                format!("{} layers, and its configuration names {}", manifest.layers.len(), diff_ids.len()),
            )),
        }
    }

    /// Stores a layer without its compression. The daemon checks that it is what the configuration says.
    async fn uncompressed(
        &self,
        layer: &Descriptor,
        media_type: &str,
        diff_id: &Digest,
    ) -> Result<Descriptor, Error> {
        let mut labels = self.labels(&layer.digest).await?;
        labels.remove(UNCOMPRESSED);
        let (sink, pieces) = mpsc::channel(PIECES_MAX);
        let input = content::Blob::open(self.client, layer.digest.as_str());
        let what = format!("decompress layer {}", layer.digest);
        let read = blocking(move || decompress(input, &sink).map_err(|source| Error::File { what, source }));
        let (key, digest) = (format!("convert-{diff_id}"), diff_id.to_string());
        let upload = Upload { digest: &digest, labels: labels.clone(), ..Upload::of(&key) };
        let write = write::write(self.client, upload, Source::Pieces(pieces));
        let (read, written) = tokio::join!(read, write);
        // What could not be read is why it could not be written.
        read?;
        written.map_err(|error| error.while_doing(format!("layer {}", layer.digest)))?;
        labelled(self.client, &digest, &labels).await?;
        let stored = self.client.content().info(InfoRequest { digest }).await?.into_inner();
        let size = stored.info.map_or(0, |info| info.size);
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest: diff_id.clone(),
            size: u64::try_from(size).unwrap_or_default(),
            ..layer.clone()
        })
    }

    /// Stores what became of a document, with the labels of the document before, but for those that hold what it named.
    async fn write(&self, before: &Descriptor, after: &Document) -> Result<Descriptor, Error> {
        let bytes = as_go(match after {
            Document::Index(index) => serde_json::to_string(index),
            Document::Manifest(manifest) => serde_json::to_string(manifest),
        });
        let mut labels = self.labels(&before.digest).await?;
        labels.retain(|label, _| !label.starts_with(HELD));
        labels.extend(holding(after));
        let digest = Digest::of(&bytes);
        write::document(self.client, (&format!("convert-{digest}"), digest.as_str()), &bytes, labels).await?;
        Ok(Descriptor { digest, size: bytes.len() as u64, ..before.clone() })
    }

    async fn labels(&self, digest: &Digest) -> Result<HashMap<String, String>, Error> {
        let request = InfoRequest { digest: digest.to_string() };
        Ok(self.client.content().info(request).await?.into_inner().info.unwrap_or_default().labels)
    }

    /// A descriptor by its name in the form that is made. Docker's forms have no annotations.
    fn named(&self, mut descriptor: Descriptor) -> Descriptor {
        match self.renames {
            true => descriptor.media_type = self.renamed(&descriptor.media_type),
            false if media_type::is_docker(&descriptor.media_type) => descriptor.annotations.clear(),
            false => {}
        }
        descriptor
    }

    fn renamed(&self, kind: &str) -> String {
        if self.renames { media_type::in_oci_words(kind).to_owned() } else { kind.to_owned() }
    }
}

fn wrong(descriptor: &Descriptor, reason: impl std::fmt::Display) -> Error {
    Error::Document { what: format!("content {}", descriptor.digest), reason: reason.to_string() }
}

/// A document's bytes: Go writes what HTML would take for its own in another way, and a digest is one of bytes.
fn as_go(text: serde_json::Result<String>) -> Vec<u8> {
    let mut text = text.expect("a document has only text as keys");
    for character in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        text = text.replace(character, &format!("\\u{:04x}", u32::from(character)));
    }
    text.into_bytes()
}

fn decompress(input: content::Blob, sink: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut output = image::decompressed(input)?;
    loop {
        let mut piece = Vec::new();
        (&mut output).take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        // When nobody takes it, the blob is there already, or the other side tells why.
        if piece.is_empty() || sink.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::as_go;

    #[test]
    fn a_document_has_the_bytes_that_go_gives_it() {
        assert_eq!(
            as_go(serde_json::to_string("a<b>&\u{2028}é")),
            br#""a\u003cb\u003e\u0026\u2028"#.iter().chain("é\"".as_bytes()).copied().collect::<Vec<u8>>()
        );
    }
}
