//! What everything takes of the disk.

use std::collections::{BTreeMap, HashMap};

use oci::digest::Digest;

use crate::blocking::blocking;
use crate::containers::{Container, Containers, ListFilter, Usage};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::images::{Image, Images};
use crate::namespaces::Namespace;
use crate::usage::tree_bytes;
use crate::volumes::{Volume, VolumeFilter, Volumes};

/// All images, and all of their layers.
#[derive(Debug, Clone, Default)]
pub struct ImageUsage {
    pub images: Vec<Image>,
    /// Bytes of the files of all layers, each once.
    pub layer_bytes: u64,
}

impl Images {
    /// What the images of the namespace take of the disk.
    pub async fn usage(&self) -> Result<ImageUsage> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        blocking(move || engine.image_usage(&namespace)).await
    }
}

impl Containers {
    /// What each container takes of the disk (slow: it walks their trees). One that goes meanwhile is left out.
    pub async fn usage_of_all(&self) -> Result<Vec<(Container, Usage)>> {
        let (engine, namespace) = (self.engine.clone(), self.namespace.clone());
        blocking(move || {
            let mut used = Vec::new();
            let all = ListFilter { all: true, ..ListFilter::default() };
            for container in engine.list(&namespace, &all)? {
                match engine.disk_usage(&container.id) {
                    Ok(usage) => used.push((container, usage)),
                    Err(Error::Store(store::Error::NotFound { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(used)
        })
        .await
    }
}

impl Volumes {
    /// What each volume takes of the disk, in bytes (slow: it walks their trees).
    pub async fn usage(&self) -> Result<Vec<(Volume, u64)>> {
        let volumes = self.list(&VolumeFilter::default()).await?;
        let measure = |volume: Volume| {
            let bytes = tree_bytes(volume.mountpoint.as_ref());
            (volume, bytes)
        };
        Ok(blocking(move || volumes.into_iter().map(measure).collect()).await)
    }
}

impl Engine {
    /// All images with the part of each that others have, too.
    pub(crate) fn image_usage(&self, namespace: &Namespace) -> Result<ImageUsage> {
        let images = self.images.list(namespace.as_str())?;
        let layers = images.iter().map(|image| self.images.layer_sizes(image));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let mut users: HashMap<&Digest, usize> = HashMap::new();
        for (name, _) in layers.iter().flatten() {
            *users.entry(name).or_default() += 1;
        }
        let shares = layers.iter().map(|layers| {
            let shared = layers.iter().filter(|(name, _)| users[name] > 1);
            Some(shared.map(|(_, bytes)| bytes).sum())
        });
        let views = images
            .into_iter()
            .zip(shares)
            .map(|(image, shared_bytes)| Image { shared_bytes, ..self.image_view(namespace, image) });
        let images = views.collect();
        let once: BTreeMap<Digest, u64> = layers.into_iter().flatten().collect();
        Ok(ImageUsage { images, layer_bytes: once.into_values().sum() })
    }
}
