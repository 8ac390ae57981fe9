//! Images: the engine's part of them, over the `image` crate.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::error::Result;

/// The images of the engine. Wherever an image is named, its name, its id or a unique prefix of its id do.
#[derive(Debug, Clone)]
pub struct Images {
    engine: Arc<Engine>,
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub name: Option<String>,
    pub id: String,
}

/// A step of a load, for the person who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProgress {
    /// What is being worked on (a short digest).
    pub id: String,
    pub status: String,
    pub current_bytes: u64,
    pub total_bytes: Option<u64>,
}

/// How an import is recorded.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name it gets.
    pub reference: Option<String>,
    /// Dockerfile instructions (`CMD`, `ENV`, …) for its configuration.
    pub changes: Vec<String>,
    pub message: String,
    pub platform: Option<String>,
}

/// An image at one moment.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration.
    pub id: String,
    pub manifest_digest: String,
    /// `name:tag`, in Docker's familiar form.
    pub tags: Vec<String>,
    /// `name@digest`
    pub digests: Vec<String>,
    pub created_ns: Option<i64>,
    pub size_bytes: u64,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    pub author: String,
    pub layers: Vec<String>,
    /// How many containers use it.
    pub containers: usize,
}

/// Which images `list` returns.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    /// Patterns of names (`busybox`, `busy*`, `busybox:latest`).
    pub references: Vec<String>,
    pub labels: Vec<(String, Option<String>)>,
    pub dangling: Option<bool>,
    pub before: Option<String>,
    pub since: Option<String>,
}

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Untagged(String),
    Deleted(String),
}

/// What a prune freed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    pub reclaimed_bytes: u64,
}

impl Images {
    /// Loads an archive (OCI archive, OCI layout or docker archive; plain, gzip or zstd) from `input`: a file, or
    /// the read end of a pipe that the caller fills.
    pub async fn load(&self, _input: OwnedFd, _progress: mpsc::UnboundedSender<LoadProgress>) -> Result<Vec<Loaded>> {
        todo!()
    }
    /// Makes an image of a root file system's tar; returns its id.
    pub async fn import(&self, _input: OwnedFd, _options: ImportOptions) -> Result<String> {
        todo!()
    }
    /// Those that match, newest first.
    pub async fn list(&self, _filter: &ImageFilter) -> Result<Vec<Image>> {
        todo!()
    }
    /// One image.
    pub async fn inspect(&self, _image: &str) -> Result<Image> {
        todo!()
    }
    /// Gives `source` another name.
    pub async fn tag(&self, _source: &str, _target: &str) -> Result<()> {
        todo!()
    }
    /// Removes a name, and the image with its last one.
    pub async fn remove(&self, _image: &str, _force: bool) -> Result<Vec<Removed>> {
        todo!()
    }
    /// Removes images without a name, or (`all`) without a container.
    pub async fn prune(&self, _all: bool, _labels: &BTreeMap<String, Option<String>>) -> Result<Pruned> {
        todo!()
    }
}

impl Engine {
    /// The images.
    pub fn images(self: &Arc<Self>) -> Images {
        Images { engine: self.clone() }
    }
}
