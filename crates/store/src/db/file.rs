//! The database's file: made, checked, set aside when it is damaged, backed up.
//!
//! * It appears under its name only when its tables are complete, so a file without them was cut off and is damaged.
//! * It is checked whole at every open: its pages (`integrity_check`), its tables (compared with those of a fresh
//!   database) and its rows (see [`crate::records::scrub`]). Indexes that disagree with their tables are built again.
//! * A damaged one becomes `metadata.db.damaged-<ns>`, its WAL beside it, and the backup takes its place, or an empty one.
//!   Only damage does that: a file that cannot be opened or read for another reason is left alone.
//! * It opens on a full disk: `reserve` holds blocks and files that are given up when there is no room for the WAL and its
//!   index, and the WAL gets its blocks before they are needed. What is deleted goes to the free list, which is never given back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{CHECKPOINT_PAGES, Origin, PAGE_BYTES, open_connection};
use crate::clock::now_ns;
use crate::durable;
use crate::error::{Error, Result};
use crate::layout::{Layout, private_dir};
use crate::{records, schema};

/// Blocks of the WAL: what it holds before it is written back, and one large transaction.
const WAL_RESERVE_BYTES: u64 = (CHECKPOINT_PAGES as u64 + 256) * PAGE_BYTES;

/// What opening on a full disk takes: the WAL and its index.
const RESERVE_BYTES: u64 = WAL_RESERVE_BYTES + (256 << 10);

/// The WAL, its index, and what else happens at an open.
const RESERVE_FILES: u64 = 8;

/// Free pages inside the database, so that state can be noted on a full disk.
const FREE_PAGES: i64 = 256;

/// A database, and what was found when it was opened.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) origin: Origin,
    /// What was wrong with rows that were removed.
    pub(super) damaged_rows: Vec<String>,
}

/// Opens the database, replacing it if it is damaged.
pub(super) fn open(layout: &Layout) -> Result<Opened> {
    let (path, backup) = (layout.database(), layout.backup());
    release_reserve_if_full(layout);
    let opened = if exists(&path)? {
        match open_checked(&path) {
            Ok(checked) => checked.of(Origin::Intact),
            Err(error) if is_damage(&error) => {
                let damaged = set_aside(&path)?;
                replace(layout, damaged)?
            }
            Err(error) => return Err(error),
        }
    } else if exists(&backup)? {
        // A kill between setting aside and replacing, or somebody removed it.
        remove_sidecars(&path)?;
        let damaged = newest_damaged(&path).unwrap_or_else(|| path.clone());
        replace(layout, damaged)?
    } else {
        remove_sidecars(&path)?;
        create(&path)?;
        open_checked(&path)?.of(Origin::New)
    };
    grow_wal(&path);
    keep_free_pages(&opened.connection)?;
    keep_reserve(layout);
    Ok(opened)
}

/// Copies the database to `target`, durably.
pub(super) fn back_up(path: &Path, target: &Path) -> Result<()> {
    let temporary = target.with_extension("bak.new");
    let failed = |source| Error::file("back up to", target, source);
    remove_if_there(&temporary)?;
    let copied = open_connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|connection| Ok(connection.execute("VACUUM INTO ?1", [temporary.to_string_lossy()])?));
    if let Err(error) = copied {
        // What there is of it is of no use; the error says what happened.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    durable::publish(&temporary, target).map_err(failed)
}

/// Takes back what the next open needs on a full disk. There may be no room; then a later one tries again.
pub(super) fn keep_reserve(layout: &Layout) {
    let directory = layout.reserve();
    let blocks = directory.join("blocks");
    let is_there = fs::metadata(&blocks).is_ok_and(|data| data.len() >= RESERVE_BYTES);
    // Somebody may have removed the whole store while it was open: nothing of it is made again.
    let is_gone = !layout.root().is_dir();
    if !is_there
        && !is_gone
        && has_room(layout, 2 * RESERVE_BYTES)
        && fill_reserve(&directory, &blocks).is_err()
    {
        // Half a reserve, or a file system that cannot reserve.
        drop(fs::remove_dir_all(&directory));
    }
}

/// Blocks for what SQLite writes, and as many files as it makes.
fn fill_reserve(directory: &Path, blocks: &Path) -> Result<()> {
    let failed = |source| Error::file("reserve", blocks, source);
    private_dir(directory)?;
    File::create(directory.join("file")).map_err(failed)?;
    let file = File::create(blocks).map_err(failed)?;
    fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES).map_err(|errno| failed(errno.into()))
}

fn release_reserve_if_full(layout: &Layout) {
    if !has_room(layout, RESERVE_BYTES) {
        // It may have been given up before.
        drop(fs::remove_dir_all(layout.reserve()));
    }
}

fn has_room(layout: &Layout, bytes: u64) -> bool {
    // A file system that cannot say is taken for one with room, and so is one whose files need not be counted.
    statvfs(layout.root()).map_or(true, |data| {
        let has_files = data.f_files == 0 || data.f_favail >= RESERVE_FILES;
        has_files && data.f_bavail.saturating_mul(data.f_frsize) >= bytes
    })
}

/// Gives the WAL its blocks beyond its end. Where that cannot be done it grows as it is written.
fn grow_wal(path: &Path) {
    let wal = sidecar(path, "-wal");
    let Ok(file) = OpenOptions::new().write(true).open(wal) else { return };
    // Not every file system can, and a full one cannot now.
    let _grows_when_written = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, WAL_RESERVE_BYTES);
}

/// A row is written and deleted: its pages stay in the free list.
fn keep_free_pages(connection: &Connection) -> Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free >= FREE_PAGES / 2 {
        return Ok(());
    }
    let filled = connection
        .execute("INSERT OR REPLACE INTO facts VALUES ('reserve', hex(zeroblob(?1)))", [FREE_PAGES * 2048])
        .and_then(|_| connection.execute("DELETE FROM facts WHERE name = 'reserve'", []));
    match filled.map_err(Error::from) {
        Ok(_) | Err(Error::DatabaseFull) => Ok(()),
        Err(error) => Err(error),
    }
}

fn create(path: &Path) -> Result<()> {
    let temporary = path.with_extension("db.new");
    for leftover in ["", "-journal"] {
        remove_if_there(&sidecar(&temporary, leftover))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open_connection(&temporary, flags)?;
    schema::migrate(&connection)?;
    drop(connection);
    durable::publish(&temporary, path).map_err(|source| Error::file("create", path, source))
}

/// A database whose bytes are good.
struct Checked {
    connection: Connection,
    damaged_rows: Vec<String>,
}

impl Checked {
    fn of(self, origin: Origin) -> Opened {
        Opened { connection: self.connection, origin, damaged_rows: self.damaged_rows }
    }
}

fn open_checked(path: &Path) -> Result<Checked> {
    let connection = open_connection(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let first = verdict(&connection)?;
    schema::repair_version(&connection)?;
    schema::migrate(&connection)?;
    schema::check(&connection)?;
    if first != "ok" {
        // It may be no more than an index, and those can be built again.
        connection.execute_batch("REINDEX")?;
    }
    let damaged_rows = records::scrub(&connection)?;
    if first != "ok" {
        let second = verdict(&connection)?;
        if second != "ok" {
            return Err(Error::Record { what: second });
        }
    }
    Ok(Checked { connection, damaged_rows })
}

fn verdict(connection: &Connection) -> Result<String> {
    Ok(connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?)
}

/// Whether the bytes are wrong, not the circumstances.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Record { .. } => true,
        // Text that is none, or no text at all, in the definition of a table.
        Error::Database(rusqlite::Error::Utf8Error(..) | rusqlite::Error::InvalidColumnType(..)) => true,
        Error::Database(source) => matches!(
            source.sqlite_error_code(),
            // Our own statements are right, so one that is refused (`Unknown` is SQLITE_ERROR) meets wrong tables; and
            // unique indexes over damaged rows cannot be built again.
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::Unknown
            )
        ),
        _ => false,
    }
}

/// Renames the database and its WAL, which may hold the only good pages of it.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let damaged = path.with_file_name(format!("{}{:019}", damaged_prefix(path), now_ns()));
    for suffix in ["-wal", ""] {
        let (from, to) = (sidecar(path, suffix), sidecar(&damaged, suffix));
        match fs::rename(&from, &to) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("set aside", &from, source));
            }
            _ => {}
        }
    }
    remove_sidecars(path)?;
    Ok(damaged)
}

/// Puts the backup in the place of a database that is gone, or an empty one.
fn replace(layout: &Layout, damaged: PathBuf) -> Result<Opened> {
    let (path, backup) = (layout.database(), layout.backup());
    if exists(&backup)? {
        let temporary = path.with_extension("db.new");
        fs::copy(&backup, &temporary)
            .and_then(|_| durable::publish(&temporary, &path))
            .map_err(|source| Error::file("restore", &path, source))?;
        match open_checked(&path) {
            Ok(checked) => return Ok(checked.of(Origin::Backup { damaged })),
            Err(error) if is_damage(&error) => {
                remove_if_there(&path)?;
                remove_sidecars(&path)?;
            }
            Err(error) => return Err(error),
        }
    }
    create(&path)?;
    Ok(open_checked(&path)?.of(Origin::Lost { damaged }))
}

fn newest_damaged(path: &Path) -> Option<PathBuf> {
    let prefix = damaged_prefix(path);
    let names =
        fs::read_dir(path.parent()?).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with(&prefix) && !name.ends_with("-wal")).max()?;
    Some(path.with_file_name(newest))
}

fn damaged_prefix(path: &Path) -> String {
    format!("{}.damaged-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// SQLite's files beside the database have names that begin with its own.
fn sidecar(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

/// A WAL that belongs to another database must not be there when a new one appears.
fn remove_sidecars(path: &Path) -> Result<()> {
    ["-wal", "-shm"].iter().try_for_each(|suffix| remove_if_there(&sidecar(path, suffix)))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, source)),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|source| Error::file("look at", path, source))
}
