//! Snapshots: directory trees made of layers.
//!
//! ```text
//!            prepare(key, parent)            commit(name, key)
//!   (none) ─────────────────────▶ active ─────────────────────▶ committed ──▶ parent of others
//!      └──── view(key, parent) ─▶ view                              │
//!              remove ◀──────────── any of them, without children ──┘
//! ```
//!
//! A snapshot is a row and a directory with a number. The directory is made before the row and removed after it, so that a
//! kill in between leaves a directory without a row, which is removed when the store is opened. After a power failure
//! a row may be there without its directory: an active one is made again, empty, a committed one is removed.
//! A committed snapshot is *unsynced* until [`crate::Store::sync_layers`] has run: after an unclean stop its files
//! cannot be trusted, and it is dropped, to be unpacked again from content.

pub mod native;
pub mod overlay;
mod records;
pub mod suite;

use std::fmt::Debug;
use std::path::PathBuf;

use oci::mount::Mount;

pub(crate) use records::{
    COLUMNS, FILES, Made, NewRow, Records, commit_row, delete, disk_usage, garbage, insert_row, list,
    name_of, note_usage, noted_size, noted_usage, read, read_kind, remove_row, set_parent,
};
pub use records::{Info, Kind};

use self::native::Native;
use self::overlay::Overlay;
use crate::db::Commit;
use crate::error::Result;

/// How an active snapshot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareOptions {
    /// How much of the record must be on disk.
    pub commit: Commit,
    /// The files need not survive a power failure: nothing of them is ever synced.
    pub volatile: bool,
}

impl Default for PrepareOptions {
    fn default() -> PrepareOptions {
        PrepareOptions { commit: Commit::Ordered, volatile: false }
    }
}

/// What a snapshot takes of the disk, without its parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of files, without their holes.
    pub bytes: u64,
    pub inodes: u64,
}

/// A way to make snapshots. [`suite::run`] tells what every implementation must do.
pub trait Snapshotter: Send + Sync + Debug {
    /// `overlay`, `native`.
    fn name(&self) -> &'static str;

    /// Makes a writable snapshot on top of a committed one, or of nothing; the mounts that show it.
    ///
    /// # Errors
    /// `AlreadyExists` for the key, `NotFound` for the parent, `FailedPrecondition` for a parent that is not committed.
    fn prepare(&self, key: &str, parent: Option<&str>, options: PrepareOptions) -> Result<Vec<Mount>>;

    /// Like `prepare`, read-only.
    fn view(&self, key: &str, parent: &str) -> Result<Vec<Mount>>;

    /// The mounts that show an active snapshot or a view.
    fn mounts(&self, key: &str) -> Result<Vec<Mount>>;

    /// Turns an active snapshot into a committed one with another name.
    fn commit(&self, name: &str, key: &str) -> Result<()>;

    /// Removes a snapshot without children. Its files go in the background of [`Snapshotter::cleanup`].
    fn remove(&self, name: &str) -> Result<()>;

    /// What is known of it.
    fn stat(&self, name: &str) -> Result<Info>;

    /// All of them, by name.
    fn list(&self) -> Result<Vec<Info>>;

    /// What it takes of the disk (slow: it walks the tree).
    fn usage(&self, name: &str) -> Result<Usage>;

    /// Notes the bytes of a committed snapshot's files, for [`Snapshotter::size`]: they never change.
    fn note_size(&self, name: &str, bytes: u64) -> Result<()>;

    /// The bytes of its files, without its parents'; walks the tree only if it can still change, or if nobody noted them.
    fn size(&self, name: &str) -> Result<u64>;

    /// The directory that a layer is unpacked into, and those below it, newest first.
    fn directories(&self, key: &str) -> Result<Directories>;

    /// Deletes the files of removed snapshots; how many directories.
    fn cleanup(&self) -> Result<usize>;
}

/// One of the two that there are, for those who make its rows together with others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend<'a> {
    Overlay(&'a Overlay),
    Native(&'a Native),
}

impl<'a> Backend<'a> {
    pub(crate) fn snapshotter(self) -> &'a dyn Snapshotter {
        match self {
            Backend::Overlay(overlay) => overlay,
            Backend::Native(native) => native,
        }
    }

    pub(crate) fn records(self) -> &'a Records {
        match self {
            Backend::Overlay(overlay) => overlay.records(),
            Backend::Native(native) => native.records(),
        }
    }

    /// The directory of a snapshot that is to stand on `parent`, which has no row yet.
    pub(crate) fn draft(self, parent: Option<&str>) -> Result<Made> {
        match self {
            Backend::Overlay(overlay) => overlay.draft(parent),
            Backend::Native(native) => native.draft(parent),
        }
    }
}

/// Where the files of a snapshot are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    pub upper: PathBuf,
    /// Newest first; empty when the upper one holds everything.
    pub lower: Vec<PathBuf>,
}
