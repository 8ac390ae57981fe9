//! What only those ask who want to know everything about an image.

use std::path::PathBuf;

pub use image::{ImageManifest as Manifest, ManifestKind};

use super::{Image, Images};
use crate::blocking::blocking;
use crate::error::Result;

/// An image, and where it comes from and lies.
#[derive(Debug, Clone)]
pub struct ImageDetails {
    pub image: Image,
    /// What its names lead to: a manifest, or an index.
    pub target: oci::descriptor::Descriptor,
    /// When it got its last name; none without a name.
    pub named_ns: Option<i64>,
    /// Where its layers are, topmost first.
    pub directories: Vec<PathBuf>,
    /// Those that its names lead to, stored here or not.
    pub manifests: Vec<Manifest>,
}

impl Images {
    /// Everything about one image.
    pub async fn details(&self, image: &str) -> Result<ImageDetails> {
        let (engine, namespace, name) = (self.engine.clone(), self.namespace.clone(), image.to_owned());
        blocking(move || {
            let image = engine.images.resolve(namespace.as_str(), &name);
            let image = image.map_err(|error| engine.tell_where(&namespace, &name, error))?;
            Ok(ImageDetails {
                target: image.target.clone(),
                named_ns: Some(image.stored_ns).filter(|_| !image.names.is_empty()),
                directories: engine.images.layer_directories(&image)?,
                // One whose documents are damaged can still be shown.
                manifests: engine.images.manifests(&image).unwrap_or_default(),
                image: engine.image_view(&namespace, image),
            })
        })
        .await
    }
}
