//! Garbage collection: what nothing holds, goes.
//!
//! Roots are images, containers, leases, and what labels say is one; [`graph`] tells what they hold, [`rules`] how labels say it.
//! The rows of a namespace go first (clients see names, and are told of each that went), then blobs and snapshots that neither a
//! row nor a record of the engine holds. What is just being made is safe, because whoever makes it holds it first:
//!
//! * A snapshot has a lease or a row. Both are rows, so the one transaction that marks and removes sees them or comes before them.
//! * A blob has a pin from before its rename until a record or lease holds it. Marking again and taking the names away
//!   exclude new pins; that is a read of the database and a rename for each blob, whatever their size.
//!
//! Bytes are deleted after both. Active snapshots and views that the engine made are its own business, and stay.

mod graph;
mod rules;
mod scan;
#[cfg(test)]
mod worlds;

use oci::digest::Digest;

use crate::clock::now_ns;
use crate::db::Commit;
use crate::error::Result;
use crate::snapshots::Snapshotter as _;
use crate::{Store, snapshots};
pub(crate) use graph::Marks;
use scan::Found;

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    pub blobs: Vec<Digest>,
    /// Of the blobs.
    pub bytes: u64,
    pub snapshots: Vec<String>,
    /// Of the files of those snapshots whose size was noted: those that were unpacked.
    pub file_bytes: u64,
    /// What namespaces do not have any more.
    pub removed: Vec<Removed>,
    /// When something of what is left ends by itself, in nanoseconds since 1970.
    pub next_ns: Option<i64>,
}

/// Something that a namespace does not have any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub namespace: String,
    pub what: Gone,
}

/// What it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    Content(String),
    Image(String),
    Ingest {
        reference: String,
        upload: String,
    },
    Lease(String),
    /// The snapshotter is called as clients call it.
    Snapshot {
        snapshotter: String,
        key: String,
    },
}

impl Store {
    /// Removes everything that nothing holds. Its space is free when this returns.
    pub fn gc(&self) -> Result<GcReport> {
        let _one_at_a_time = self.collecting.lock().expect("no collection panics");
        let (found, file_bytes) = self.sweep_rows()?;
        let blobs = self.sweep_blobs(&found.marks)?;
        self.uploads.sweep(&self.db)?;
        let cleaned = self.overlay.cleanup().and(self.native.cleanup());
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        let blobs = blobs.into_iter().map(|blob| blob.digest).collect();
        let snapshots = found.snapshots.into_iter().map(|(_, info)| info.name).collect();
        let (removed, next_ns) = (found.rows, found.next_ns);
        let report = GcReport { blobs, bytes, snapshots, file_bytes, removed, next_ns };
        cleaned.map(|_| report)
    }

    /// Removes rows of clients and of snapshots, and sets the files aside; also the bytes of those snapshots, as far as known.
    fn sweep_rows(&self) -> Result<(Found, u64)> {
        let all = [self.overlay.records(), self.native.records()];
        let names = all.map(|records| records.name());
        // Mostly there is nothing to do, and then writers need not wait.
        let found = self.db.read(|tx| scan::look(tx, now_ns(), names))?;
        if found.rows.is_empty() && found.snapshots.is_empty() {
            return Ok((found, 0));
        }
        let (found, bytes) = self.db.write(Commit::Ordered, move |tx| {
            let found = scan::look(tx, now_ns(), names)?;
            found.rows.iter().try_for_each(|row| scan::remove(tx, row))?;
            let mut bytes = 0;
            for (snapshotter, info) in &found.snapshots {
                bytes += snapshots::noted_size(tx, snapshotter, &info.name)?.unwrap_or_default();
                snapshots::delete(tx, snapshotter, info.number)?;
            }
            Ok((found, bytes))
        })?;
        for (snapshotter, info) in &found.snapshots {
            let records = all.iter().find(|records| records.name() == *snapshotter);
            records.expect("it is one of these").set_aside(info.number)?;
        }
        Ok((found, bytes))
    }

    fn sweep_blobs(&self, marks: &Marks) -> Result<Vec<crate::Blob>> {
        let mut candidates = self.content.list()?;
        candidates.retain(|blob| !marks.has_bytes(blob.digest.as_str()));
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let swept = self.content.sweep(candidates, || {
            let marks = self.db.read(mark)?;
            Ok(move |digest: &Digest| marks.has_bytes(digest.as_str()))
        })?;
        let gone: Vec<String> = swept.iter().map(|blob| blob.digest.to_string()).collect();
        self.db.write(Commit::Ordered, move |tx| {
            let mut edges = tx.connection.prepare_cached("DELETE FROM edges WHERE parent = ?1")?;
            let mut hidden = tx.connection.prepare_cached("DELETE FROM space_hidden WHERE digest = ?1")?;
            for digest in &gone {
                edges.execute([digest])?;
                hidden.execute([digest])?;
            }
            Ok(())
        })?;
        Ok(swept)
    }
}

fn mark(tx: &crate::Tx<'_>) -> Result<Marks> {
    Ok(scan::mark(tx, now_ns())?.0)
}
