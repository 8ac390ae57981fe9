//! The one store: content, metadata, snapshots, garbage collection, intents.
//!
//! Synchronous, and shared by reference: every method takes `&self`. One process has a store; a second one is refused.
//! The order that makes it durable: the bytes of a blob, then its name, then the record that holds it. What a record
//! names therefore exists.
#![forbid(unsafe_code)]

mod clock;
mod content;
mod db;
pub mod durable;
mod error;
mod gc;
pub mod intents;
pub mod layout;
mod records;
mod schema;
pub mod snapshots;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{FlockOperation, flock, syncfs};

pub use content::{Blob, Content, Ingest, Pin};
pub use db::{Commit, Origin, Tx};
pub use error::{Error, Result};
pub use gc::GcReport;
pub use layout::Layout;
pub use records::{Labels, containers, edges, images, leases, volumes};

use db::Db;
use snapshots::native::Native;
use snapshots::overlay::Overlay;
use snapshots::{Kind, Snapshotter};

/// Everything that must survive the process, below one root.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    db: Arc<Db>,
    content: Content,
    overlay: Overlay,
    native: Native,
    collecting: Mutex<()>,
    recovery: Recovery,
    _lock: File,
}

/// What opening the store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    pub origin: Origin,
    /// Layers that were not synced before the machine went down; they were dropped and are unpacked again when needed.
    pub dropped_layers: Vec<String>,
    /// Such layers below containers that exist: they stay, and may be damaged.
    pub suspect_layers: Vec<String>,
}

impl Store {
    /// Opens the store at `root`, making it if it is not there, and removes what killed processes left.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that has it.
    pub fn open(root: &Path) -> Result<Store> {
        let layout = Layout::create(root)?;
        let lock = take_lock(root, &layout)?;
        let (db, origin) = Db::open(&layout)?;
        let db = Arc::new(db);
        let overlay = Overlay::open(layout.snapshots("overlay"), Arc::clone(&db))?;
        let native = Native::open(layout.snapshots("native"), Arc::clone(&db))?;
        let content = Content::open(&layout)?;
        let recovery = Recovery { origin, dropped_layers: Vec::new(), suspect_layers: Vec::new() };
        let collecting = Mutex::default();
        let mut store = Store { layout, db, content, overlay, native, collecting, recovery, _lock: lock };
        store.db.write(Commit::Ordered, leases::clear)?;
        store.distrust_unsynced_layers()?;
        Ok(store)
    }

    /// What opening it found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Blobs.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The snapshotter of that name: `overlay` or `native`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for any other name.
    pub fn snapshots(&self, name: &str) -> Result<&dyn Snapshotter> {
        match name {
            "overlay" => Ok(&self.overlay),
            "native" => Ok(&self.native),
            _ => Err(Error::NotFound { kind: "snapshotter", name: name.to_owned() }),
        }
    }

    /// Runs `work` in a transaction of the one writer and waits for its commit. When `work` fails, nothing of it is done.
    pub fn write<T: Send + 'static>(
        &self,
        commit: Commit,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.db.write(commit, work)
    }

    /// Runs `work` on a consistent view of the records.
    pub fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.db.read(work)
    }

    /// Writes everything that was unpacked to disk, and notes that those layers can be trusted from now on.
    pub fn sync_layers(&self) -> Result<()> {
        let unsynced = self.unsynced()?;
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = self.layout.snapshots("overlay");
        let synced = File::open(&root).and_then(|root| Ok(syncfs(root)?));
        synced.map_err(|source| Error::file("sync", &root, source))?;
        self.db.write(Commit::Ordered, move |tx| {
            let mut statement =
                tx.connection.prepare_cached("UPDATE snapshots SET synced = 1 WHERE name = ?1")?;
            for name in &unsynced {
                statement.execute([name])?;
            }
            Ok(())
        })
    }

    /// Copies the database to its backup, for the case that it is damaged later.
    pub fn backup(&self) -> Result<()> {
        self.db.backup(&self.layout.backup())
    }

    fn unsynced(&self) -> Result<Vec<String>> {
        let all = self.overlay.list()?;
        Ok(all
            .into_iter()
            .filter(|info| info.kind == Kind::Committed && !info.synced)
            .map(|info| info.name)
            .collect())
    }

    /// After a reboot, layers whose files were never synced may be damaged. After a mere restart of the process they are not: the
    /// kernel has them.
    fn distrust_unsynced_layers(&mut self) -> Result<()> {
        let boot = boot_id()?;
        let known = boot.clone();
        let has_rebooted = self.db.read(move |tx| {
            let mut statement = tx.connection.prepare("SELECT value FROM facts WHERE name = 'boot'")?;
            let last: Vec<String> =
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(last.first().is_some_and(|last| *last != known))
        })?;
        if has_rebooted {
            let mut names = self.unsynced()?;
            // Each pass removes the leaves; what no pass can remove has a container on it.
            loop {
                let (dropped, kept): (Vec<_>, Vec<_>) =
                    names.into_iter().partition(|name| self.overlay.remove(name).is_ok());
                names = kept;
                if dropped.is_empty() {
                    break;
                }
                self.recovery.dropped_layers.extend(dropped);
            }
            self.recovery.suspect_layers = names;
        }
        self.db.write(Commit::Ordered, move |tx| {
            let sql = "INSERT INTO facts VALUES ('boot', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            tx.connection.execute(sql, [boot])?;
            Ok(())
        })
    }
}

fn take_lock(root: &Path, layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let failed = |source| Error::file("lock", &path, source);
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        // Only for the message.
        drop(file.read_to_string(&mut pid));
        return Err(Error::Locked { root: root.to_owned(), pid: pid.trim().to_owned() });
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// Changes with every boot of the machine (`random(4)`).
fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    Ok(text.trim().to_owned())
}
