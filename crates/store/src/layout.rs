//! The on-disk map: every directory under root and state, and who owns it.
//!
//! ```text
//! root (0700, survives a reboot)
//!   lock                        flock: one process has the store            store
//!   metadata.db{,-wal,-shm}     records                                     store::db
//!   metadata.db.bak             last good copy, made at a graceful stop     store::db
//!   metadata.db.damaged-<ns>    what a backup took the place of             store::db, then nobody
//!   reserve/{blocks,file}       given up to open on a full disk             store::db
//!   content/blobs/<algorithm>/<hex>  immutable blobs                        store::content
//!   content/ingest/<id>         blobs being written                         store::content
//!   content/uploads/<id>/data   blobs that clients write, over restarts      store::space
//!   snapshots/overlay/<n>/{fs,work}, snapshots/native/<n>/fs                store::snapshots
//!   snapshots/*/removed-<n>     waits to be deleted                         store::snapshots
//!   snapshots/*/lost-<n>        nothing knows it since the database was damaged; nobody deletes it
//!   volumes/<name>/_data        volumes                                     engine
//!   containers/<uid>/           log.json*, hostname, hosts, resolv.conf     engine, shim (the log)
//! state (0700, a reboot clears it)
//!   intents/<id>.json           kernel effects under way                    store::intents
//!   bundles/<uid>/config.json   what the shim runs                          engine
//!   shims/<id>/                 task.sock attach.sock exit.json log         shim
//! ```

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci::digest::Algorithm;

use crate::error::{Error, Result};

/// Paths below one root.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories that the store owns, private to their owner.
    ///
    /// # Errors
    /// [`Error::Root`] for a path that overlayfs could not be given: it separates directories by `:` and options by `,`.
    pub fn create(root: &Path) -> Result<Layout> {
        let is_plain = |text: &str| !text.contains([':', ',', '\\']);
        if !root.is_absolute() || !root.to_str().is_some_and(is_plain) {
            return Err(Error::Root { root: root.to_owned() });
        }
        let layout = Layout { root: root.to_owned() };
        for path in [
            layout.root.clone(),
            layout.ingest(),
            layout.uploads(),
            layout.snapshots("overlay"),
            layout.snapshots("native"),
            layout.volumes(),
            layout.containers(),
        ] {
            private_dir(&path)?;
        }
        for algorithm in Algorithm::ALL {
            private_dir(&layout.blobs(algorithm))?;
        }
        Ok(layout)
    }

    /// The directory that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the lock is taken on.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("metadata.db")
    }

    /// Its last good copy.
    pub fn backup(&self) -> PathBuf {
        self.root.join("metadata.db.bak")
    }

    /// What is given up when the disk is full.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Blobs whose digest was made by `algorithm`, by its digits.
    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("content/blobs").join(algorithm.name())
    }

    /// Blobs being written.
    pub fn ingest(&self) -> PathBuf {
        self.root.join("content/ingest")
    }

    /// Blobs that clients are writing; they may go on after a restart.
    pub fn uploads(&self) -> PathBuf {
        self.root.join("content/uploads")
    }

    /// One snapshotter's directories.
    pub fn snapshots(&self, name: &str) -> PathBuf {
        self.root.join("snapshots").join(name)
    }

    /// Volumes, by name.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Files of containers, by uid.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }
}

/// Makes a directory and its parents with mode 0700, if it is not there.
pub fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::file("create", path, source))
}
