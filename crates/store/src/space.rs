//! Spaces: what clients of containerd's services see of the store, one for each namespace.
//!
//! Blobs and snapshots exist once for the whole machine. A *space* gives them names, labels and a life in one namespace:
//!
//! ```text
//!   namespace ── content (digest) ──────────────────────▶ a blob
//!             ── ingest (ref) ──────────────────────────▶ content/uploads/<id>
//!             ── snapshot (snapshotter, key) ─ backend ─▶ a snapshot of the machine
//!             ── lease ─▶ any of these, and images
//!             ── container, sandbox: what clients wrote
//! ```
//!
//! What the engine stored for an image of the namespace (edges hold it) is *adopted*: it gets its row when somebody first asks
//! for it. A snapshot that a client makes is its namespace's own: its backend is called `<namespace>/<key>`. Only what Corten
//! unpacked itself, under the name of its chain, is shared by all namespaces, because only of that is known what is in it.
//!
//! Labels tell the garbage collection what holds what (`containerd.io/gc.*`), as containerd does.

pub mod containers;
pub mod content;
pub mod identifier;
pub mod images;
pub mod ingests;
pub mod labels;
pub mod leases;
mod mask;
pub mod opaque;
pub mod sandboxes;
pub mod snapshots;
mod table;

use crate::db::{Commit, Tx};
use crate::error::Result;
use crate::{Store, namespaces};

/// One namespace of the store.
#[derive(Debug, Clone, Copy)]
pub struct Space<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namespace: &'a str,
}

impl Store {
    /// What `namespace` has; it need not have been made.
    pub fn space<'a>(&'a self, namespace: &'a str) -> Space<'a> {
        Space { store: self, namespace }
    }
}

impl<'a> Space<'a> {
    /// Its name.
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The store that it is a part of.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// Runs `work`, which is given the namespace, in a transaction. The namespace is there from then on, as one of containerd
    /// is, also when nothing is in it any more.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        commit: Commit,
        work: impl FnOnce(&Tx<'_>, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = self.namespace.to_owned();
        self.store.db.write(commit, move |tx| {
            let done = work(tx, &namespace)?;
            namespaces::note(tx, &namespace)?;
            Ok(done)
        })
    }
}
