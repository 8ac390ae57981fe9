//! The tables, and how an older database becomes a current one.
//!
//! `PRAGMA user_version` counts the migrations that were applied; each is one entry of [`MIGRATIONS`] and is never changed
//! afterwards. A database of a newer Corten is refused, because its rows may mean something else.

use rusqlite::Connection;

use crate::error::{Error, Result};

/// Each brings the database from the version of its index to the next.
const MIGRATIONS: [&str; 4] = [
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
    "
-- What clients of containerd's services see of the store: names, namespace by namespace. See `space`.
CREATE TABLE space_content (
    namespace TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (namespace, digest)
) STRICT;
CREATE INDEX space_content_by_digest ON space_content (digest);
CREATE TABLE space_ingests (
    namespace TEXT NOT NULL, ref TEXT NOT NULL,
    upload TEXT NOT NULL UNIQUE,        -- its directory below content/uploads
    total INTEGER NOT NULL,             -- 0: nobody said
    expected TEXT NOT NULL,             -- a digest, or empty: nobody said
    started_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    expires_ns INTEGER,                 -- of one without a lease
    PRIMARY KEY (namespace, ref)
) STRICT;
CREATE TABLE space_snapshots (
    namespace TEXT NOT NULL, snapshotter TEXT NOT NULL, key TEXT NOT NULL,
    backend TEXT NOT NULL,              -- its name in the table of snapshots
    parent TEXT,                        -- a key of the same namespace and snapshotter
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (namespace, snapshotter, key)
) STRICT;
CREATE INDEX space_snapshots_by_backend ON space_snapshots (snapshotter, backend);
CREATE INDEX space_snapshots_by_parent ON space_snapshots (namespace, snapshotter, parent);
CREATE TABLE space_leases (
    namespace TEXT NOT NULL, id TEXT NOT NULL, created_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT;
CREATE TABLE space_leased (
    namespace TEXT NOT NULL, lease TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- content, ingests, images, snapshots/<snapshotter>
    id TEXT NOT NULL,
    PRIMARY KEY (namespace, lease, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE space_containers (
    namespace TEXT NOT NULL, id TEXT NOT NULL,
    image TEXT NOT NULL, runtime TEXT NOT NULL,
    snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL, sandbox TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    document TEXT NOT NULL,             -- what only clients understand, as JSON
    PRIMARY KEY (namespace, id)
) STRICT;
CREATE TABLE space_sandboxes (
    namespace TEXT NOT NULL, id TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT;
",
    "
-- What an image needs and a client deleted: it is not content of the namespace until somebody writes it again.
CREATE TABLE space_hidden (
    namespace TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (namespace, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX space_hidden_by_digest ON space_hidden (digest);
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
