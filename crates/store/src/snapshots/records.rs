//! The rows of snapshots, shared by every snapshotter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{OptionalExtension, Row, params};

use super::Usage;
use crate::clock::now_ns;
use crate::db::{Commit, Db, Tx};
use crate::error::{Error, Result};
use crate::gc::Marks;
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
pub(crate) struct Made {
    pub(crate) number: i64,
    pub(super) path: PathBuf,
    is_kept: bool,
}

/// Removed snapshots wait under this prefix for their files to be deleted.
const REMOVED: &str = "removed-";

/// The files of a snapshot, in its directory.
pub(crate) const FILES: &str = "fs";

/// Directories that a damaged database may have known; nobody deletes them.
const LOST: &str = "lost-";

/// Numbers that one write to the database covers. A number is never used twice, not even after the database went back
/// to its backup: a row of then must not meet a directory of now.
const NUMBERS: i64 = 1024;

/// Where a row's labels have the bytes of a committed snapshot's files.
const SIZE_PATH: &str = "$.\"corten.size\"";

/// Where a row's labels have what a committed snapshot takes of the disk, as containerd's clients are told.
const USAGE_PATHS: [&str; 2] = ["$.\"corten.disk\"", "$.\"corten.inodes\""];

/// The unit of `st_blocks` (inode(7)).
const BLOCK_BYTES: u64 = 512;

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
    pub(super) fn insert(&self, made: Made, key: &str, kind: Kind, insert: Insert<'_>) -> Result<()> {
        let (name, key, number) = (self.name, key.to_owned(), made.number);
        let (parent, volatile) = (insert.parent.map(str::to_owned), insert.volatile);
        self.db.write(insert.commit, move |tx| {
            insert_row(tx, name, &NewRow { key: &key, kind, parent: parent.as_deref(), number, volatile })
        })?;
        made.keep();
        Ok(())
    }

    /// Turns an active row into a committed one.
    pub(super) fn commit(&self, name: &str, key: &str) -> Result<()> {
        let (snapshotter, name, key) = (self.name, name.to_owned(), key.to_owned());
        // Its files are not synced either: after a power failure both go, and it is unpacked again.
        self.db.write(Commit::Ordered, move |tx| commit_row(tx, snapshotter, &name, &key))
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
        let number = self.db.write(Commit::Ordered, move |tx| remove_row(tx, snapshotter, &name))?;
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

/// A row to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRow<'a> {
    pub(crate) key: &'a str,
    pub(crate) kind: Kind,
    pub(crate) parent: Option<&'a str>,
    pub(crate) number: i64,
    pub(crate) volatile: bool,
}

impl Made {
    /// The directory that its files go into.
    pub(crate) fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }

    /// It has its row.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
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
    let mut usage = Usage::default();
    each_inode(path, &mut |data| {
        if data.is_file() {
            // Neither holes nor the rest of a last block are anybody's bytes.
            usage.bytes += data.len().min(data.blocks() * BLOCK_BYTES);
        }
        usage.inodes += 1;
    })?;
    Ok(usage)
}

/// The blocks that a directory tree takes, itself included, as du(1) counts them.
pub(crate) fn disk_usage(path: &Path) -> Result<Usage> {
    let top = fs::symlink_metadata(path).map_err(|source| Error::file("look at", path, source))?;
    let mut usage = Usage { bytes: top.blocks() * BLOCK_BYTES, inodes: 1 };
    each_inode(path, &mut |data| {
        usage.bytes += data.blocks() * BLOCK_BYTES;
        usage.inodes += 1;
    })?;
    Ok(usage)
}

/// Calls `count` once for every file below a directory, however many names it has.
fn each_inode(path: &Path, count: &mut dyn FnMut(&fs::Metadata)) -> Result<()> {
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
            } else if data.nlink() > 1 && !linked.insert((data.dev(), data.ino())) {
                continue;
            }
            count(&data);
        }
    }
    Ok(())
}

/// The snapshots that are neither held nor below one that stays. Active ones and views of the engine stay; those of clients have
/// a namespace in their names.
pub(crate) fn garbage(tx: &Tx<'_>, snapshotter: &str, marks: &Marks) -> Result<Vec<Info>> {
    let all = list(tx, snapshotter)?;
    let parents: BTreeMap<&str, &str> =
        all.iter().filter_map(|info| Some((info.name.as_str(), info.parent.as_deref()?))).collect();
    let mut kept = BTreeSet::new();
    let is_engines = |info: &Info| info.kind != Kind::Committed && !info.name.contains('/');
    for info in all.iter().filter(|info| is_engines(info) || marks.has_layer(snapshotter, &info.name)) {
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

/// What was noted of the blocks that a committed snapshot takes.
pub(crate) fn noted_usage(tx: &Tx<'_>, snapshotter: &str, name: &str) -> Result<Option<Usage>> {
    let sql = "SELECT json_extract(labels, ?3), json_extract(labels, ?4) FROM snapshots WHERE snapshotter = ?1 AND name = ?2";
    let mut statement = tx.connection.prepare_cached(sql)?;
    let row: Option<(Option<i64>, Option<i64>)> = statement
        .query_row(params![snapshotter, name, USAGE_PATHS[0], USAGE_PATHS[1]], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (Some(bytes), Some(inodes)) = row.unwrap_or_default() else { return Ok(None) };
    // Negative ones are damage.
    Ok(u64::try_from(bytes)
        .ok()
        .zip(u64::try_from(inodes).ok())
        .map(|(bytes, inodes)| Usage { bytes, inodes }))
}

/// Notes what a committed snapshot takes.
pub(crate) fn note_usage(tx: &Tx<'_>, snapshotter: &str, name: &str, usage: Usage) -> Result<()> {
    let sql =
        "UPDATE snapshots SET labels = json_set(labels, ?3, ?4, ?5, ?6) WHERE snapshotter = ?1 AND name = ?2";
    let [bytes, inodes] = [usage.bytes, usage.inodes].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let mut statement = tx.connection.prepare_cached(sql)?;
    statement.execute(params![snapshotter, name, USAGE_PATHS[0], bytes, USAGE_PATHS[1], inodes])?;
    Ok(())
}

/// What the snapshot with that number is called.
pub(crate) fn name_of(tx: &Tx<'_>, snapshotter: &str, number: i64) -> Result<Option<String>> {
    let sql = "SELECT name FROM snapshots WHERE snapshotter = ?1 AND number = ?2";
    let mut statement = tx.connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![snapshotter, number], |row| row.get(0)).optional()?)
}

/// Makes a row, whose parent must be committed.
pub(crate) fn insert_row(tx: &Tx<'_>, snapshotter: &str, new: &NewRow<'_>) -> Result<()> {
    if let Some(parent) = new.parent {
        require_committed(tx, snapshotter, parent)?;
    }
    let mut statement = tx.connection.prepare_cached(&format!(
        "INSERT INTO snapshots (snapshotter, {COLUMNS}, labels) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, '{{}}')"
    ))?;
    let kind = kind_text(new.kind);
    let row = params![snapshotter, new.key, kind, new.parent, new.number, new.volatile, now_ns()];
    unique(statement.execute(row), "snapshot", new.key).map(drop)
}

/// Turns an active row into a committed one with another name.
pub(crate) fn commit_row(tx: &Tx<'_>, snapshotter: &str, name: &str, key: &str) -> Result<()> {
    let info = get(tx, snapshotter, key)?.ok_or_else(|| missing(key))?;
    if info.kind != Kind::Active {
        return Err(Error::Snapshot { name: key.to_owned(), why: "is not active" });
    }
    let mut statement = tx.connection.prepare_cached(
        "UPDATE snapshots SET name = ?3, kind = 'committed', volatile = 0 WHERE snapshotter = ?1 AND name = ?2",
    )?;
    unique(statement.execute([snapshotter, key, name]), "snapshot", name).map(drop)
}

/// Puts a snapshot that stood on nothing on top of a committed one.
pub(crate) fn set_parent(tx: &Tx<'_>, snapshotter: &str, name: &str, parent: &str) -> Result<()> {
    require_committed(tx, snapshotter, parent)?;
    let sql = "UPDATE snapshots SET parent = ?3 WHERE snapshotter = ?1 AND name = ?2";
    tx.connection.prepare_cached(sql)?.execute([snapshotter, name, parent])?;
    Ok(())
}

fn require_committed(tx: &Tx<'_>, snapshotter: &str, name: &str) -> Result<()> {
    match get(tx, snapshotter, name)?.ok_or_else(|| missing(name))?.kind {
        Kind::Committed => Ok(()),
        _ => Err(Error::Snapshot { name: name.to_owned(), why: "is not committed" }),
    }
}

/// Removes the row of a snapshot without children; the number of its directory, which is to be set aside.
pub(crate) fn remove_row(tx: &Tx<'_>, snapshotter: &str, name: &str) -> Result<i64> {
    let info = get(tx, snapshotter, name)?.ok_or_else(|| missing(name))?;
    let sql = "SELECT 1 FROM snapshots WHERE snapshotter = ?1 AND parent = ?2 LIMIT 1";
    if tx.connection.prepare_cached(sql)?.exists([snapshotter, name])? {
        return Err(Error::Snapshot { name: name.to_owned(), why: "has children" });
    }
    delete(tx, snapshotter, info.number)?;
    Ok(info.number)
}

/// Removes a row, and with it what namespaces call it.
pub(crate) fn delete(tx: &Tx<'_>, snapshotter: &str, number: i64) -> Result<()> {
    crate::space::snapshots::forget(tx, snapshotter, number)?;
    let sql = "DELETE FROM snapshots WHERE snapshotter = ?1 AND number = ?2";
    tx.connection.prepare_cached(sql)?.execute(params![snapshotter, number])?;
    Ok(())
}

pub(crate) fn list(tx: &Tx<'_>, snapshotter: &str) -> Result<Vec<Info>> {
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

pub(crate) fn read_kind(text: &str) -> rusqlite::Result<Kind> {
    match text {
        "active" => Ok(Kind::Active),
        "view" => Ok(Kind::View),
        "committed" => Ok(Kind::Committed),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Info> {
    Ok(Info {
        name: row.get(0)?,
        kind: read_kind(&row.get::<_, String>(1)?)?,
        parent: row.get(2)?,
        number: row.get(3)?,
        volatile: row.get(4)?,
        synced: row.get(5)?,
        created_ns: row.get(6)?,
    })
}
