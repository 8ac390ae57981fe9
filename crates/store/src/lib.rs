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
pub mod space;
mod tree;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{FlockOperation, flock, syncfs};
use rustix::io::Errno;

pub use clock::now_ns;
pub use content::{Blob, Content, Ingest, Pin};
pub use db::{Commit, Origin, Tx};
pub use error::{Error, Result};
pub use gc::{GcReport, Gone, Removed};
pub use layout::Layout;
pub use records::{Labels, containers, edges, images, leases, namespaces, volumes};

use db::Db;
use snapshots::native::Native;
use snapshots::overlay::Overlay;
use snapshots::{Backend, Info, Kind, Snapshotter};
use space::ingests::Uploads;

/// The lock file holds a number and a newline.
const PID_MAX_BYTES: u64 = 32;

/// Everything that must survive the process, below one root.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    db: Arc<Db>,
    content: Content,
    overlay: Overlay,
    native: Native,
    uploads: Uploads,
    collecting: Mutex<()>,
    recovery: Recovery,
    _lock: Lock,
}

/// What opening the store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    pub origin: Origin,
    /// What was wrong with records that could not be read; they are gone.
    pub damaged_rows: Vec<String>,
    /// Layers that were not synced before the machine went down; they were dropped. Snapshots above them cannot be
    /// mounted until the same layers are unpacked again.
    pub dropped_layers: Vec<String>,
    /// Snapshots whose files are gone.
    pub lost_snapshots: Vec<String>,
}

impl Store {
    /// Opens the store at `root`, making it if it is not there, and removes what killed processes left.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that has it.
    pub fn open(root: &Path) -> Result<Store> {
        let layout = Layout::create(root)?;
        let lock = Lock::take(root, &layout)?;
        let (db, origin, damaged_rows) = Db::open(&layout)?;
        let db = Arc::new(db);
        // Of a database that is new or went back in time, directories without a row may be somebody's data.
        let is_trusted = origin == Origin::Intact;
        let (overlay, mut lost) = Overlay::open(layout.snapshots("overlay"), Arc::clone(&db), is_trusted)?;
        let (native, more) = Native::open(layout.snapshots("native"), Arc::clone(&db), is_trusted)?;
        lost.extend(more);
        let content = Content::open(&layout)?;
        let uploads = Uploads::open(&layout, &db, &content)?;
        let recovery = Recovery { origin, damaged_rows, dropped_layers: Vec::new(), lost_snapshots: lost };
        let collecting = Mutex::default();
        let mut store =
            Store { layout, db, content, overlay, native, uploads, collecting, recovery, _lock: lock };
        store.db.write(Commit::Ordered, leases::clear)?;
        store.distrust_unsynced_layers()?;
        let lost = store.db.write(Commit::Ordered, space::snapshots::mend)?;
        store.recovery.lost_snapshots.extend(lost);
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
        let numbers = self.backends().map(|backend| Ok((backend.records().name(), unsynced(backend)?)));
        let numbers: Vec<(&str, Vec<Info>)> = numbers.into_iter().collect::<Result<_>>()?;
        if numbers.iter().all(|(_, layers)| layers.is_empty()) {
            return Ok(());
        }
        // One file system has both.
        let root = self.layout.snapshots("overlay");
        let synced = File::open(&root).and_then(|root| Ok(syncfs(root)?));
        synced.map_err(|source| Error::file("sync", &root, source))?;
        self.db.write(Commit::Ordered, move |tx| {
            // By number: a layer of the same name may have been unpacked again in the meantime.
            let sql = "UPDATE snapshots SET synced = 1 WHERE snapshotter = ?1 AND number = ?2";
            let mut statement = tx.connection.prepare_cached(sql)?;
            for (snapshotter, layers) in &numbers {
                for layer in layers {
                    statement.execute((snapshotter, layer.number))?;
                }
            }
            Ok(())
        })
    }

    /// What the store noted under `name`: `value`, unless something was noted before.
    pub fn fact_or(&self, name: &'static str, value: String) -> Result<String> {
        self.db.write(Commit::Durable, move |tx| {
            tx.connection.execute("INSERT OR IGNORE INTO facts VALUES (?1, ?2)", [name, value.as_str()])?;
            Ok(tx
                .connection
                .query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))?)
        })
    }

    /// Copies the database to its backup, for the case that it is damaged later.
    pub fn backup(&self) -> Result<()> {
        self.db.backup()
    }

    fn backends(&self) -> [Backend<'_>; 2] {
        [Backend::Overlay(&self.overlay), Backend::Native(&self.native)]
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
            let mut dropped = Vec::new();
            for backend in self.backends() {
                for info in unsynced(backend)? {
                    // Also below containers: with a layer that may be damaged they would run, and be wrong.
                    backend.records().forget(&info)?;
                    dropped.push(info.name);
                }
            }
            self.recovery.dropped_layers = dropped;
        }
        self.db.write(Commit::Ordered, move |tx| {
            let sql = "INSERT INTO facts VALUES ('boot', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            tx.connection.execute(sql, [boot])?;
            Ok(())
        })
    }
}

/// Committed snapshots of which it is not known that their files are on disk.
fn unsynced(backend: Backend<'_>) -> Result<Vec<Info>> {
    let all = backend.snapshotter().list()?;
    Ok(all.into_iter().filter(|info| info.kind == Kind::Committed && !info.synced).collect())
}

/// The store's lock, held.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn take(root: &Path, layout: &Layout) -> Result<Lock> {
        let path = layout.lock();
        let failed = |source| Error::file("lock", &path, source);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // Only for the message.
                drop(file.take(PID_MAX_BYTES).read_to_string(&mut pid));
                return Err(Error::Locked { root: root.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let note = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        match note {
            // The lock is what counts; on a full disk the next one is not told who has it.
            Err(source) if source.kind() == io::ErrorKind::StorageFull => {}
            note => note.map_err(failed)?,
        }
        Ok(Lock(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked and has not yet called exec has the descriptor too.
        let _closing_does_it = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Changes with every boot of the machine (`random(4)`).
fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    Ok(text.trim().to_owned())
}
