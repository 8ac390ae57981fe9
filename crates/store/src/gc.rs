//! Garbage collection: what nothing holds, goes.
//!
//! Roots are image records, containers (their image and snapshot), leases, and the snapshots that clients made. Edges lead from a blob to what it needs; a
//! snapshot needs its parents. What is just being made is safe, because whoever makes it holds it first:
//!
//! * A snapshot has a lease. Leases are rows, so the one transaction that marks and removes sees them or comes before them.
//! * A blob has a pin from before its rename until a record or lease holds it. Marking again and taking the names away
//!   exclude new pins; that is a read of the database and a rename for each blob, whatever their size.
//!
//! Bytes are deleted after both. Active snapshots and views are somebody's, and stay.

use std::collections::BTreeSet;

use oci::digest::Digest;

use crate::db::{Commit, Tx};
use crate::error::Result;
use crate::snapshots::Snapshotter as _;
use crate::{Store, snapshots};

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    pub blobs: Vec<Digest>,
    /// Of the blobs.
    pub bytes: u64,
    pub snapshots: Vec<String>,
    /// Of the files of those snapshots whose size was noted: those that were unpacked.
    pub file_bytes: u64,
}

#[derive(Debug, Default)]
struct Marks {
    blobs: BTreeSet<String>,
    snapshots: BTreeSet<String>,
}

impl Store {
    /// Removes every blob and committed snapshot that nothing holds. Their space is free when this returns.
    pub fn gc(&self) -> Result<GcReport> {
        let _one_at_a_time = self.collecting.lock().expect("no collection panics");
        let (snapshots, file_bytes) = self.sweep_snapshots()?;
        let blobs = self.sweep_blobs()?;
        let cleaned = self.overlay.cleanup().and(self.native.cleanup());
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        let blobs = blobs.into_iter().map(|blob| blob.digest).collect();
        let report = GcReport { blobs, bytes, snapshots, file_bytes };
        cleaned.map(|_| report)
    }

    fn sweep_snapshots(&self) -> Result<(Vec<String>, u64)> {
        let (mut removed, mut file_bytes) = (Vec::new(), 0);
        for records in [self.overlay.records(), self.native.records()] {
            let name = records.name();
            // Mostly there is nothing to do, and then writers need not wait.
            if self.db.read(|tx| snapshots::garbage(tx, name, &mark(tx)?.snapshots))?.is_empty() {
                continue;
            }
            let (swept, bytes) = self.db.write(Commit::Ordered, move |tx| {
                let garbage = snapshots::garbage(tx, name, &mark(tx)?.snapshots)?;
                let mut bytes = 0;
                for info in &garbage {
                    bytes += snapshots::noted_size(tx, name, &info.name)?.unwrap_or_default();
                    snapshots::delete(tx, name, info.number)?;
                }
                Ok((garbage, bytes))
            })?;
            file_bytes += bytes;
            for info in swept {
                records.set_aside(info.number)?;
                removed.push(info.name);
            }
        }
        Ok((removed, file_bytes))
    }

    fn sweep_blobs(&self) -> Result<Vec<crate::Blob>> {
        let mut candidates = self.content.list()?;
        let marks = self.db.read(mark)?;
        candidates.retain(|blob| !marks.blobs.contains(blob.digest.as_str()));
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let swept = self.content.sweep(candidates, || {
            let marks = self.db.read(mark)?;
            Ok(move |digest: &Digest| marks.blobs.contains(digest.as_str()))
        })?;
        let gone: Vec<String> = swept.iter().map(|blob| blob.digest.to_string()).collect();
        self.db.write(Commit::Ordered, move |tx| {
            let mut statement = tx.connection.prepare_cached("DELETE FROM edges WHERE parent = ?1")?;
            for digest in &gone {
                statement.execute([digest])?;
            }
            Ok(())
        })?;
        Ok(swept)
    }
}

/// Everything that is reachable from the roots.
fn mark(tx: &Tx<'_>) -> Result<Marks> {
    let mut marks = Marks::default();
    let mut pending = Vec::new();
    let roots = "SELECT 'blob', digest FROM images UNION SELECT 'blob', image FROM containers
        UNION SELECT 'snapshot', snapshot FROM containers UNION SELECT kind, target FROM leases
        UNION SELECT 'snapshot', backend FROM space_snapshots WHERE instr(backend, '/') > 0";
    let mut statement = tx.connection.prepare_cached(roots)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        pending.push(row?);
    }
    let mut children = tx.connection.prepare_cached("SELECT kind, child FROM edges WHERE parent = ?1")?;
    while let Some((kind, name)) = pending.pop() {
        if kind == "snapshot" {
            marks.snapshots.insert(name);
        } else if marks.blobs.insert(name.clone()) {
            let rows = children.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                pending.push(row?);
            }
        }
    }
    Ok(marks)
}
