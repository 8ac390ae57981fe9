//! The tables, and how an older database becomes a current one.
//!
//! `PRAGMA user_version` counts the migrations that were applied; each is one entry of [`MIGRATIONS`] and is never changed
//! afterwards. A database of a newer Corten is refused, because its rows may mean something else.

use rusqlite::Connection;

use crate::error::{Error, Result};

/// Each brings the database from the version of its index to the next.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE images (
    namespace TEXT NOT NULL, name TEXT NOT NULL,
    target TEXT NOT NULL,               -- the descriptor, as JSON
    digest TEXT NOT NULL,               -- of the target
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    labels TEXT NOT NULL,               -- a JSON object
    PRIMARY KEY (namespace, name)
) STRICT;
CREATE INDEX images_by_digest ON images (digest);
CREATE TABLE containers (
    uid TEXT PRIMARY KEY NOT NULL,
    namespace TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL,
    image TEXT NOT NULL,                -- digest of the image's configuration or manifest
    snapshot TEXT NOT NULL,             -- key of the active snapshot
    created_ns INTEGER NOT NULL,
    spec TEXT NOT NULL, state TEXT NOT NULL,
    UNIQUE (namespace, name), UNIQUE (namespace, id)
) STRICT;
CREATE TABLE volumes (
    namespace TEXT NOT NULL, name TEXT NOT NULL,
    labels TEXT NOT NULL, options TEXT NOT NULL, created_ns INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT;
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL, created_ns INTEGER NOT NULL
) STRICT;
-- `parent` holds `child`: a manifest its layers, a manifest the snapshot of its chain.
CREATE TABLE edges (
    parent TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('blob', 'snapshot')), child TEXT NOT NULL,
    PRIMARY KEY (parent, kind, child)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    id TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('blob', 'snapshot')), target TEXT NOT NULL,
    PRIMARY KEY (id, kind, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (
    snapshotter TEXT NOT NULL, name TEXT NOT NULL,
    number INTEGER NOT NULL,            -- of its directory
    parent TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('active', 'view', 'committed')),
    volatile INTEGER NOT NULL,          -- an active one that is never synced
    synced INTEGER NOT NULL,            -- a committed one whose files are known to be on disk
    created_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (snapshotter, name)
) STRICT;
CREATE UNIQUE INDEX snapshots_by_number ON snapshots (snapshotter, number);
CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots (snapshotter, parent);
",
    "
-- Those that were made by name; others are there as long as something is in them.
CREATE TABLE namespaces (name TEXT PRIMARY KEY NOT NULL, labels TEXT NOT NULL) STRICT;
",
];

/// No release has had or will have so many migrations.
const IMPLAUSIBLE: usize = 10_000;

/// How many migrations were applied.
fn version(connection: &Connection) -> Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(version as usize)
}

/// The version is a number in the file, and can be damaged like all of it; the tables tell the right one.
pub(crate) fn repair_version(connection: &Connection) -> Result<()> {
    if (1..IMPLAUSIBLE).contains(&version(connection)?) {
        return Ok(());
    }
    check(connection)?;
    Ok(connection.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))?)
}

/// Compares the tables with those of a fresh database: they are text in the file, and can be damaged like all of it.
pub(crate) fn check(connection: &Connection) -> Result<()> {
    let fresh = Connection::open_in_memory()?;
    migrate(&fresh)?;
    if tables(connection)? != tables(&fresh)? {
        return Err(Error::Record { what: "its tables are not those of its version".into() });
    }
    Ok(())
}

fn tables(connection: &Connection) -> Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_master ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Brings the database to the current version.
pub(crate) fn migrate(connection: &Connection) -> Result<()> {
    let version = version(connection)?;
    if version > MIGRATIONS.len() {
        return Err(Error::Newer { version });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        connection.execute_batch(&format!("BEGIN;{migration};PRAGMA user_version = {};COMMIT", index + 1))?;
    }
    Ok(())
}
