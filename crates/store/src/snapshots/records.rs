//! The rows of snapshots, shared by every snapshotter.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::tree;

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
pub(crate) struct Records {
    name: &'static str,
    root: PathBuf,
    db: Arc<Db>,
    next: AtomicI64,
    /// Numbers below this are known to the database as used.
    limit: AtomicI64,
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

/// The files of a snapshot, in its directory.
pub(super) const FILES: &str = "fs";

/// Directories that a damaged database may have known; nobody deletes them.
const LOST: &str = "lost-";

/// Numbers that one write to the database covers. A number is never used twice, not even after the database went back
/// to its backup: a row of then must not meet a directory of now.
const NUMBERS: i64 = 1024;

/// Where a row's labels have the bytes of a committed snapshot's files.
const SIZE_PATH: &str = "$.\"corten.size\"";

/// Longer chains cannot be mounted; only a damaged database has them.
const CHAIN_MAX: usize = 512;

pub(crate) const COLUMNS: &str = "name, kind, parent, number, volatile, synced, created_ns";

impl Records {
    /// Sets directories without a row aside: they are what a killed process left, and wait to be deleted, unless the
    /// database `is_trusted` no more.
    pub(super) fn open(name: &'static str, root: PathBuf, db: Arc<Db>, is_trusted: bool) -> Result<Records> {
        let records = Records { name, root, db, next: AtomicI64::new(0), limit: AtomicI64::new(0) };
        let rows = records.list()?;
        let mut highest = rows.iter().map(|info| info.number).max().unwrap_or(0);
        let known: BTreeSet<String> = rows.iter().map(|info| info.number.to_string()).collect();
        for entry in records.entries()? {
            let number = entry.trim_start_matches(REMOVED).trim_start_matches(LOST).parse().unwrap_or(0);
            highest = highest.max(number);
            if !known.contains(&entry) && !entry.starts_with(REMOVED) && !entry.starts_with(LOST) {
                records.rename(&entry, if is_trusted { REMOVED } else { LOST })?;
            }
        }
        let first = highest.max(records.reserved()?) + 1;
        records.next.store(first, Ordering::Relaxed);
        records.reserve(first)?;
        Ok(records)
    }

    /// Makes the directories again that rows of active snapshots and views miss: those were made, and nothing in them was
    /// synced, when the power failed. Other rows without directories are removed; their names.
    pub(super) fn mend(&self, is_trusted: bool, again: impl Fn(&Info) -> Result<()>) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        for info in self.list()? {
            let directory = self.directory(info.number);
            if !directory.exists() {
                // Somebody has repaired the database by hand; mostly there is no such directory.
                drop(fs::rename(self.root.join(format!("{LOST}{}", info.number)), &directory));
            }
            if directory.join(FILES).is_dir() {
                continue;
            }
            // A database that went back to its backup knows snapshots that were removed since.
            if !is_trusted || info.kind == Kind::Committed || again(&info).is_err() {
                self.forget(&info)?;
                lost.push(info.name);
            }
        }
        Ok(lost)
    }

    /// The highest number that may have been used.
    fn reserved(&self) -> Result<i64> {
        let fact = format!("numbers of {}", self.name);
        self.db.read(|tx| {
            let mut statement = tx.connection.prepare("SELECT value FROM facts WHERE name = ?1")?;
            let value: Option<String> = statement.query_row([fact], |row| row.get(0)).optional()?;
            Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
        })
    }

    /// Notes a block of numbers, of which `number` is one, as used.
    fn reserve(&self, number: i64) -> Result<()> {
        let limit = number + NUMBERS;
        let fact = format!("numbers of {}", self.name);
        self.db.write(Commit::Ordered, move |tx| {
            let sql =
                "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
                WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)";
            tx.connection.execute(sql, params![fact, limit.to_string()])?;
            Ok(())
        })?;
        self.limit.fetch_max(limit, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A fresh numbered directory.
    pub(super) fn make(&self) -> Result<Made> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.limit.load(Ordering::Relaxed) {
            self.reserve(number)?;
        }
        let path = self.directory(number);
        crate::layout::private_dir(&path)?;
        Ok(Made { number, path, is_kept: false })
    }

    /// The directory of a row that has lost it, empty.
    pub(super) fn remake(&self, number: i64) -> Result<PathBuf> {
        let path = self.directory(number);
        tree::remove(&self.root, &number.to_string())
            .map_err(|source| Error::file("remove", &path, source))?;
        crate::layout::private_dir(&path)?;
        Ok(path)
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
                if chain.len() == CHAIN_MAX {
                    return Err(Error::Record {
                        what: format!("the chain of snapshot `{current}` has no end"),
                    });
                }
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
        // Its files are not synced either: after a power failure both go, and it is unpacked again.
        self.db.write(Commit::Ordered, move |tx| {
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

    /// Notes the bytes of a snapshot's files.
    pub(super) fn note_size(&self, name: &str, bytes: u64) -> Result<()> {
        let (snapshotter, name, bytes) =
            (self.name, name.to_owned(), i64::try_from(bytes).unwrap_or(i64::MAX));
        self.db.write(Commit::Ordered, move |tx| {
            let mut statement = tx.connection.prepare_cached(
                "UPDATE snapshots SET labels = json_set(labels, ?3, ?4) WHERE snapshotter = ?1 AND name = ?2",
            )?;
            statement.execute(params![snapshotter, name, SIZE_PATH, bytes])?;
            Ok(())
        })
    }

    /// What was noted.
    pub(super) fn noted_size(&self, name: &str) -> Result<Option<u64>> {
        self.db.read(|tx| noted_size(tx, self.name, name))
    }

    /// The bytes of a snapshot's files: noted, or counted and noted now if they cannot change any more.
    pub(super) fn size(&self, name: &str) -> Result<u64> {
        if let Some(bytes) = self.noted_size(name)? {
            return Ok(bytes);
        }
        let info = self.stat(name)?;
        let bytes = tree_usage(&self.directory(info.number).join(FILES))?.bytes;
        if info.kind == Kind::Committed {
            self.note_size(name, bytes)?;
        }
        Ok(bytes)
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
            delete(tx, snapshotter, info.number)?;
            Ok(info.number)
        })?;
        self.set_aside(number)
    }

    /// Removes a row of which the files cannot be used, also below other snapshots: they have their place again when
    /// one of the same name is made.
    pub(crate) fn forget(&self, info: &Info) -> Result<()> {
        let (snapshotter, number) = (self.name, info.number);
        self.db.write(Commit::Ordered, move |tx| delete(tx, snapshotter, number))?;
        self.set_aside(number)
    }

    /// Renames the directory of a removed row out of the way.
    pub(crate) fn set_aside(&self, number: i64) -> Result<()> {
        self.rename(&number.to_string(), REMOVED)
    }

    fn rename(&self, entry: &str, prefix: &str) -> Result<()> {
        let path = self.root.join(entry);
        let mut aside = self.root.join(format!("{prefix}{entry}"));
        if aside.exists() {
            aside.as_mut_os_string().push(format!(".{}", now_ns()));
        }
        match fs::rename(&path, aside) {
            // What is not there is out of the way.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // A longer name may need a block that a full disk does not have.
            Err(source) if source.kind() == std::io::ErrorKind::StorageFull && prefix == REMOVED => {
                tree::remove(&self.root, entry).map_err(|source| Error::file("remove", &path, source))
            }
            Err(source) => Err(Error::file("set aside", &path, source)),
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn stat(&self, name: &str) -> Result<Info> {
        self.db.read(|tx| get(tx, self.name, name)?.ok_or_else(|| missing(name)))
    }

    pub(super) fn list(&self) -> Result<Vec<Info>> {
        self.db.read(|tx| list(tx, self.name))
    }

    /// Deletes what was set aside; how many directories. What cannot be deleted does not keep the rest.
    pub(super) fn cleanup(&self) -> Result<usize> {
        let mut count = 0;
        let mut failure = None;
        for entry in self.entries()?.iter().filter(|entry| entry.starts_with(REMOVED)) {
            match tree::remove(&self.root, entry) {
                Ok(()) => count += 1,
                Err(source) => failure = Some(Error::file("remove", &self.root.join(entry), source)),
            }
        }
        failure.map_or(Ok(count), Err)
    }

    fn entries(&self) -> Result<Vec<String>> {
        let failed = |source| Error::file("list", &self.root, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            // All names here are ours, and ASCII.
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
            let (root, name) = (self.path.parent(), self.path.file_name());
            if let (Some(root), Some(name)) = (root, name.and_then(|name| name.to_str())) {
                // What cannot be removed now is removed when the store is opened.
                drop(tree::remove(root, name));
            }
        }
    }
}

/// The bytes of the files of a directory tree, and its inodes.
pub(super) fn tree_usage(path: &Path) -> Result<Usage> {
    use std::os::unix::fs::MetadataExt as _;
    let mut usage = Usage::default();
    let mut pending = vec![path.to_owned()];
    let mut linked = BTreeSet::new();
    while let Some(folder) = pending.pop() {
        let failed = |source| Error::file("list", &folder, source);
        // A running container may remove files while we look.
        let entries = match fs::read_dir(&folder) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound && folder != path => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                pending.push(entry.path());
            } else if data.nlink() > 1 && !linked.insert(data.ino()) {
                continue;
            }
            if data.is_file() {
                // Neither holes nor the rest of a last block are anybody's bytes.
                usage.bytes += data.len().min(data.blocks() * 512);
            }
            usage.inodes += 1;
        }
    }
    Ok(usage)
}

/// The committed snapshots that are neither marked nor below one that stays.
pub(crate) fn garbage(tx: &Tx<'_>, snapshotter: &str, marked: &BTreeSet<String>) -> Result<Vec<Info>> {
    let all = list(tx, snapshotter)?;
    let parents: BTreeMap<&str, &str> =
        all.iter().filter_map(|info| Some((info.name.as_str(), info.parent.as_deref()?))).collect();
    let mut kept = BTreeSet::new();
    for info in all.iter().filter(|info| info.kind != Kind::Committed || marked.contains(&info.name)) {
        let mut next = Some(info.name.as_str());
        while let Some(name) = next
            && kept.insert(name)
        {
            next = parents.get(name).copied();
        }
    }
    Ok(all.iter().filter(|info| !kept.contains(info.name.as_str())).cloned().collect())
}

/// The bytes that were noted of a snapshot's files.
pub(crate) fn noted_size(tx: &Tx<'_>, snapshotter: &str, name: &str) -> Result<Option<u64>> {
    let sql = "SELECT json_extract(labels, ?3) FROM snapshots WHERE snapshotter = ?1 AND name = ?2";
    let mut statement = tx.connection.prepare_cached(sql)?;
    let bytes: Option<Option<i64>> =
        statement.query_row(params![snapshotter, name, SIZE_PATH], |row| row.get(0)).optional()?;
    Ok(bytes.flatten().and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Removes a row.
pub(crate) fn delete(tx: &Tx<'_>, snapshotter: &str, number: i64) -> Result<()> {
    let sql = "DELETE FROM snapshots WHERE snapshotter = ?1 AND number = ?2";
    tx.connection.prepare_cached(sql)?.execute(params![snapshotter, number])?;
    Ok(())
}

fn list(tx: &Tx<'_>, snapshotter: &str) -> Result<Vec<Info>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM snapshots WHERE snapshotter = ?1 ORDER BY name"))?;
    let rows = statement.query_map([snapshotter], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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

pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Info> {
    let kind: String = row.get(1)?;
    Ok(Info {
        name: row.get(0)?,
        kind: match kind.as_str() {
            "active" => Kind::Active,
            "view" => Kind::View,
            "committed" => Kind::Committed,
            _ => return Err(rusqlite::Error::InvalidQuery),
        },
        parent: row.get(2)?,
        number: row.get(3)?,
        volatile: row.get(4)?,
        synced: row.get(5)?,
        created_ns: row.get(6)?,
    })
}
