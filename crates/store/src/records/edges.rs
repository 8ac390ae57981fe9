//! Edges: what holds what, for garbage collection.

use oci::digest::Digest;

use crate::db::Tx;
use crate::error::Result;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held<'a> {
    Blob(&'a Digest),
    /// A committed snapshot of the overlay snapshotter, by name.
    Snapshot(&'a str),
}

impl<'a> Held<'a> {
    pub(crate) fn columns(self) -> (&'static str, &'a str) {
        match self {
            Held::Blob(digest) => ("blob", digest.as_str()),
            Held::Snapshot(name) => ("snapshot", name),
        }
    }
}

/// As long as the blob `parent` is held, `child` is.
pub fn add(tx: &Tx<'_>, parent: &Digest, child: Held<'_>) -> Result<()> {
    let (kind, child) = child.columns();
    let mut statement = tx
        .connection
        .prepare_cached("INSERT OR IGNORE INTO edges (parent, kind, child) VALUES (?1, ?2, ?3)")?;
    statement.execute([parent.as_str(), kind, child])?;
    Ok(())
}
