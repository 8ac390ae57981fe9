//! `content/uploads`: the bytes of ingests, a directory for each, and which refs are being written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{COLUMNS, Ingest, Status, read};
use crate::clock::now_ns;
use crate::content::Content;
use crate::db::{Commit, Db};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::tree;

/// What was written.
pub(super) const DATA: &str = "data";

/// The uploads of all namespaces.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    next: AtomicU64,
    locks: Arc<Locks>,
}

/// Since when a ref of a namespace has a writer.
type Locks = Mutex<BTreeMap<(String, String), i64>>;

/// A ref that has a writer.
#[derive(Debug)]
pub(super) struct Lock {
    locks: Arc<Locks>,
    name: (String, String),
}

impl Uploads {
    /// Also removes what a killed process left: directories without a row, rows of which nothing is there.
    pub(crate) fn open(layout: &Layout, db: &Db, content: &Content) -> Result<Uploads> {
        let uploads = Uploads { folder: layout.uploads(), next: AtomicU64::new(0), locks: Arc::default() };
        uploads.sweep(db)?;
        let rows = db.read(|tx| {
            let sql = format!("SELECT {COLUMNS}, namespace FROM space_ingests");
            let mut statement = tx.connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| Ok((read(row), row.get::<_, String>(6)?)))?;
            rows.map(|row| row.map_err(Error::from).and_then(|(ingest, namespace)| Ok((ingest?, namespace))))
                .collect::<Result<Vec<_>>>()
        })?;
        let mut empty = Vec::new();
        for (row, namespace) in rows {
            let has_blob = row.expected.as_ref().map(|digest| content.info(digest)).transpose()?.flatten();
            if has_blob.is_none() && !uploads.has_data(&row.upload) {
                empty.push((namespace, row.reference));
            }
        }
        if empty.is_empty() {
            return Ok(uploads);
        }
        db.write(Commit::Ordered, move |tx| {
            let mut row = tx
                .connection
                .prepare_cached("DELETE FROM space_ingests WHERE namespace = ?1 AND ref = ?2")?;
            let mut held = tx.connection.prepare_cached(
                "DELETE FROM space_leased WHERE namespace = ?1 AND kind = 'ingests' AND id = ?2",
            )?;
            for (namespace, reference) in &empty {
                row.execute([namespace, reference])?;
                held.execute([namespace, reference])?;
            }
            Ok(())
        })?;
        Ok(uploads)
    }

    /// Removes the directories that no row names; how many. A row is there before its directory, and no name comes again.
    pub(crate) fn sweep(&self, db: &Db) -> Result<usize> {
        let failed = |source| Error::file("list", &self.folder, source);
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            names.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        if names.is_empty() {
            return Ok(0);
        }
        let known = db.read(|tx| {
            let mut statement = tx.connection.prepare_cached("SELECT upload FROM space_ingests")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            Ok(rows.collect::<rusqlite::Result<BTreeSet<_>>>()?)
        })?;
        let mut removed = 0;
        for name in names.difference(&known) {
            let path = self.folder.join(name);
            tree::remove(&self.folder, name).map_err(|source| Error::file("remove", &path, source))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The name of another directory.
    pub(super) fn name(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", now_ns())
    }

    /// One of the directories.
    pub(super) fn folder(&self, upload: &str) -> PathBuf {
        self.folder.join(upload)
    }

    /// Whether something can be written there.
    pub(super) fn has_data(&self, upload: &str) -> bool {
        self.folder(upload).join(DATA).exists()
    }

    /// Removes a directory whose row is gone. What cannot be removed now goes with the next sweep.
    pub(super) fn remove(&self, upload: &str) {
        drop(tree::remove(&self.folder, upload));
    }

    /// How far it has come; nothing when nothing is there.
    pub(super) fn status(&self, row: Ingest) -> Result<Option<Status>> {
        let path = self.folder(&row.upload).join(DATA);
        match fs::metadata(&path) {
            Ok(data) => Ok(Some(Status {
                reference: row.reference,
                offset: data.len(),
                total: row.total,
                started_ns: row.started_ns,
                updated_ns: row.updated_ns.max(written_ns(&data)),
            })),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("look at", &path, source)),
        }
    }

    /// Takes a ref for a writer, or tells since when it has one.
    pub(super) fn lock(&self, namespace: &str, reference: &str) -> Result<Lock, i64> {
        let name = (namespace.to_owned(), reference.to_owned());
        let mut locks = self.locks.lock().expect("no holder panics");
        if let Some(since_ns) = locks.get(&name) {
            return Err(*since_ns);
        }
        locks.insert(name.clone(), now_ns());
        Ok(Lock { locks: Arc::clone(&self.locks), name })
    }
}

/// When a file was written last.
pub(super) fn written_ns(data: &fs::Metadata) -> i64 {
    data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec())
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.lock().expect("no holder panics").remove(&self.name);
    }
}
