//! Images: archives in, layers unpacked, in a confined worker; names, lookup and removal.
//!
//! An image is a record (a name in a namespace, and the descriptor of a manifest or an index), the documents and
//! layers in content, and one overlay snapshot for each layer, named by its chain id. Everything that parses an
//! archive or a layer happens in the [`worker`]; what is parsed here are bounded JSON documents.
//!
//! ```text
//! archive ─ worker extract ─▶ scratch ─ digest check ─▶ blobs ─ worker unpack ─▶ snapshots ─▶ record
//! ```
//!
//! Invariants: a record's documents and layers are in content and on disk before the record is; the identity of an
//! image ("image id") is the digest of its configuration; blobs and snapshots under way are pinned or leased, so
//! that a garbage collection at any moment is safe; a killed process leaves only what the next start removes.
#![forbid(unsafe_code)]

mod apply;
mod archive;
mod commit;
mod compression;
mod error;
pub mod files;
mod image;
mod images;
mod import;
mod layers;
pub mod local;
mod manifests;
mod pack;
mod pull;
mod push;
pub mod registry;
pub mod remote;
mod remove;
mod save;
pub mod tar;
pub mod tls;
mod unpack;
pub mod worker;

pub use apply::Whiteouts;
pub use archive::{Loaded, Progress, Step, Unnamed, Wanted};
pub use commit::{CommitOptions, ContainerLayers};
pub use compression::decompressed;
pub use error::{Conflict, Error, LayerName, Result};
pub use image::Image;
pub use images::{Images, Named};
pub use import::{ChangeError, Download, ImportOptions};
pub use layers::{AppliedLayer, Difference, LayerCompression, LayerPlace};
pub use manifests::{ImageManifest, ManifestKind};
pub use pull::{Fetched, Found, PullEvent, PullOptions, PullProgress, PullStep, Pulled};
pub use push::{PushEvent, PushProgress, PushStep, Pushed};
pub use remove::{Removed, User};
pub use save::Saving;
pub use worker::{WorkerCommand, WorkerError};
