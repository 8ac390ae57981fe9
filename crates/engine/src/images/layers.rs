//! Single layers, for clients that make snapshots of them themselves.

use std::fs::File;

pub use image::{AppliedLayer, LayerPlace, Whiteouts};

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
}
