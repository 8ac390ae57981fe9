//! Single layers, for clients that make snapshots of them themselves.

use std::fs::File;
use std::io::{self, Write};

pub use image::{AppliedLayer, Difference, LayerCompression, LayerPlace, Whiteouts};
use store::Labels;
use store::space::content::{Info, UNCOMPRESSED};
use store::space::ingests::{Announced, Finished, Writer};
use store::space::labels::Mask;

use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// Applies a layer in a confined worker.
    pub async fn apply_layer(
        &self,
        layer: File,
        is_compressed: bool,
        place: LayerPlace,
    ) -> Result<AppliedLayer> {
        let images = self.images.clone();
        Ok(blocking(move || images.apply_layer(&layer, is_compressed, &place)).await?)
    }

    /// Packs a layer and makes it content of a namespace.
    pub async fn diff_layer(&self, diff: LayerDiff) -> Result<Info> {
        let (images, store) = (self.images.clone(), self.store.clone());
        blocking(move || {
            let space = store.space(&diff.namespace);
            let unique = format!("diff-{}-{}", crate::clock::now_ns(), crate::random::hex::<4>());
            let reference = diff.reference.as_deref().unwrap_or(&unique);
            let lease = diff.lease.as_deref();
            let mut writer = space.ingests().open(Announced { reference, lease, ..Announced::default() })?;
            writer.restart()?;
            let diff_id = match images.pack_layer(&diff.difference, &mut Pass(&mut writer)) {
                Ok(diff_id) => diff_id,
                Err(error) => {
                    drop(writer);
                    // What a client named it may want to look at.
                    if diff.reference.is_none() {
                        space.ingests().abort(reference, lease)?;
                    }
                    return Err(error.into());
                }
            };
            let mut labels = diff.labels;
            if diff.difference.compression != LayerCompression::None {
                labels.insert(UNCOMPRESSED.to_owned(), diff_id.to_string());
            }
            let digest = writer.digest();
            let finished = Finished { labels: labels.clone(), lease, ..Finished::default() };
            match space.ingests().commit(writer, finished) {
                Err(store::Error::AlreadyExists { .. }) => {
                    let info = space.content().info(&digest)?;
                    if info.labels.contains_key(UNCOMPRESSED) || !labels.contains_key(UNCOMPRESSED) {
                        return Ok(info);
                    }
                    let mask = Mask::Keys(vec![UNCOMPRESSED.to_owned()]);
                    Ok(space.content().update(&digest, labels, mask)?)
                }
                done => Ok(done?),
            }
        })
        .await
    }
}

/// A layer to be made for a client.
#[derive(Debug, Clone)]
pub struct LayerDiff {
    pub namespace: String,
    pub difference: Difference,
    /// Of the ingest; without one it gets one.
    pub reference: Option<String>,
    pub labels: Labels,
    pub lease: Option<String>,
}

/// Bytes for an ingest.
struct Pass<'a>(&'a mut Writer);

impl Write for Pass<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
