//! The rows of snapshots, shared by every snapshotter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{OptionalExtension, Row, params};

use super::Usage;
use crate::clock::now_ns;
use crate::db::{Commit, Db, Tx};
use crate::error::{Error, Result};
use crate::records::unique;

/// Which of the three a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Active,
    View,
    Committed,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub name: String,
    pub kind: Kind,
    pub parent: Option<String>,
    /// Of its directory.
    pub number: i64,
    /// An active one that is never synced.
    pub volatile: bool,
    /// A committed one whose files are known to be on disk.
    pub synced: bool,
    pub created_ns: i64,
}

/// The rows and numbered directories of one snapshotter.
#[derive(Debug)]
pub(super) struct Records {
    name: &'static str,
    root: PathBuf,
    db: Arc<Db>,
    next: AtomicI64,
}

/// A directory that was made for a snapshot which has no row yet. Dropping it removes the directory.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) number: i64,
    pub(super) path: PathBuf,
    is_kept: bool,
}

/// Removed snapshots wait under this prefix for their files to be deleted.
const REMOVED: &str = "removed-";

const COLUMNS: &str = "name, kind, parent, number, volatile, synced, created_ns";

impl Records {
    /// Removes directories without a row: a process was killed while it made or removed them.
    pub(super) fn open(name: &'static str, root: PathBuf, db: Arc<Db>) -> Result<Records> {
        let records = Records { name, root, db, next: AtomicI64::new(1) };
        let known: BTreeSet<String> = records.list()?.iter().map(|info| info.number.to_string()).collect();
        let mut highest = 0;
        for entry in records.directories()? {
            let number = entry.trim_start_matches(REMOVED).parse::<i64>().unwrap_or(0);
            highest = highest.max(number);
            if !known.contains(&entry) && !entry.starts_with(REMOVED) {
                let path = records.root.join(&entry);
                let aside = records.root.join(format!("{REMOVED}{entry}"));
                fs::rename(&path, &aside).map_err(|source| Error::file("set aside", &path, source))?;
            }
        }
        records.next.store(highest + 1, Ordering::Relaxed);
        Ok(records)
    }

    /// A fresh numbered directory.
    pub(super) fn make(&self) -> Result<Made> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory(number);
        crate::layout::private_dir(&path)?;
        Ok(Made { number, path, is_kept: false })
    }

    pub(super) fn directory(&self, number: i64) -> PathBuf {
        self.root.join(number.to_string())
    }

    /// The chain of a committed snapshot, itself first.
    pub(super) fn chain(&self, parent: &str) -> Result<Vec<Info>> {
        let name = self.name;
        let parent = parent.to_owned();
        self.db.read(move |tx| {
            let mut chain = Vec::new();
            let mut next = Some(parent);
            while let Some(current) = next.take() {
                let info = get(tx, name, &current)?.ok_or_else(|| missing(&current))?;
                if info.kind != Kind::Committed {
                    return Err(Error::Snapshot { name: current, why: "is not committed" });
                }
                next = info.parent.clone();
                chain.push(info);
            }
            Ok(chain)
        })
    }

    /// Makes the row for a directory.
    pub(super) fn insert(&self, mut made: Made, key: &str, kind: Kind, insert: Insert<'_>) -> Result<()> {
        let (name, key, number) = (self.name, key.to_owned(), made.number);
        let (parent, volatile) = (insert.parent.map(str::to_owned), insert.volatile);
        self.db.write(insert.commit, move |tx| {
            if let Some(parent) = &parent {
                let info = get(tx, name, parent)?.ok_or_else(|| missing(parent))?;
                if info.kind != Kind::Committed {
                    return Err(Error::Snapshot { name: parent.clone(), why: "is not committed" });
                }
            }
            let mut statement = tx.connection.prepare_cached(&format!(
                "INSERT INTO snapshots (snapshotter, {COLUMNS}, labels) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, '{{}}')"
            ))?;
            let kind = kind_text(kind);
            let row = params![name, key, kind, parent, number, volatile, now_ns()];
            unique(statement.execute(row), "snapshot", &key).map(drop)
        })?;
        made.is_kept = true;
        Ok(())
    }

    /// Turns an active row into a committed one.
    pub(super) fn commit(&self, name: &str, key: &str) -> Result<()> {
        let (snapshotter, name, key) = (self.name, name.to_owned(), key.to_owned());
        self.db.write(Commit::Durable, move |tx| {
            let info = get(tx, snapshotter, &key)?.ok_or_else(|| missing(&key))?;
            if info.kind != Kind::Active {
                return Err(Error::Snapshot { name: key, why: "is not active" });
            }
            let mut statement = tx.connection.prepare_cached(
                "UPDATE snapshots SET name = ?3, kind = 'committed', volatile = 0 WHERE snapshotter = ?1 AND name = ?2",
            )?;
            unique(statement.execute([snapshotter, &key, &name]), "snapshot", &name).map(drop)
        })
    }

    /// Removes the row, then sets the directory aside.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let (snapshotter, name) = (self.name, name.to_owned());
        let number = self.db.write(Commit::Ordered, move |tx| {
            let info = get(tx, snapshotter, &name)?.ok_or_else(|| missing(&name))?;
            let mut children = tx
                .connection
                .prepare_cached("SELECT 1 FROM snapshots WHERE snapshotter = ?1 AND parent = ?2 LIMIT 1")?;
            if children.exists([snapshotter, &name])? {
                return Err(Error::Snapshot { name, why: "has children" });
            }
            let mut statement =
                tx.connection.prepare_cached("DELETE FROM snapshots WHERE snapshotter = ?1 AND name = ?2")?;
            statement.execute([snapshotter, &name])?;
            Ok(info.number)
        })?;
        let path = self.directory(number);
        let aside = self.root.join(format!("{REMOVED}{number}"));
        fs::rename(&path, &aside).map_err(|source| Error::file("set aside", &path, source))
    }

    pub(super) fn stat(&self, name: &str) -> Result<Info> {
        self.db.read(|tx| get(tx, self.name, name)?.ok_or_else(|| missing(name)))
    }

    pub(super) fn list(&self) -> Result<Vec<Info>> {
        self.db.read(|tx| {
            let mut statement = tx.connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM snapshots WHERE snapshotter = ?1 ORDER BY name"
            ))?;
            let rows = statement.query_map([self.name], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Deletes what was set aside.
    pub(super) fn cleanup(&self) -> Result<usize> {
        let mut count = 0;
        for entry in self.directories()?.iter().filter(|entry| entry.starts_with(REMOVED)) {
            let path = self.root.join(entry);
            match fs::remove_dir_all(&path) {
                Ok(()) => count += 1,
                // Two cleanups at once: the other one was faster.
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::file("remove", &path, source)),
            }
        }
        Ok(count)
    }

    fn directories(&self) -> Result<Vec<String>> {
        let failed = |source| Error::file("list", &self.root, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }
}

/// The rest of what a new row says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insert<'a> {
    pub(super) parent: Option<&'a str>,
    pub(super) volatile: bool,
    pub(super) commit: Commit,
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is removed when the store is opened.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Bytes and inodes of a directory tree.
pub(super) fn tree_usage(path: &Path) -> Result<Usage> {
    use std::os::unix::fs::MetadataExt as _;
    let mut usage = Usage::default();
    let mut pending = vec![path.to_owned()];
    let mut linked = BTreeSet::new();
    while let Some(folder) = pending.pop() {
        let failed = |source| Error::file("list", &folder, source);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A running container may remove files while we look.
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                pending.push(entry.path());
            } else if data.nlink() > 1 && !linked.insert(data.ino()) {
                continue;
            }
            usage.bytes += data.blocks() * 512;
            usage.inodes += 1;
        }
    }
    Ok(usage)
}

pub(super) fn missing(name: &str) -> Error {
    Error::NotFound { kind: "snapshot", name: name.to_owned() }
}

fn get(tx: &Tx<'_>, snapshotter: &str, name: &str) -> Result<Option<Info>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM snapshots WHERE snapshotter = ?1 AND name = ?2"))?;
    Ok(statement.query_row([snapshotter, name], read).optional()?)
}

fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Active => "active",
        Kind::View => "view",
        Kind::Committed => "committed",
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Info> {
    let kind: String = row.get(1)?;
    Ok(Info {
        name: row.get(0)?,
        kind: match kind.as_str() {
            "active" => Kind::Active,
            "view" => Kind::View,
            _ => Kind::Committed,
        },
        parent: row.get(2)?,
        number: row.get(3)?,
        volatile: row.get(4)?,
        synced: row.get(5)?,
        created_ns: row.get(6)?,
    })
}
