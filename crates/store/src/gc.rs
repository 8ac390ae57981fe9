//! Garbage collection: what nothing holds, goes.
//!
//! Roots are image records, containers (their image and snapshot) and leases. Edges lead from a blob to what it needs. One read of
//! the database marks; then snapshots that are unmarked, oldest last, and blobs that are unmarked and not pinned go.
//!
//! What is just being made is safe because whoever makes it holds it first: a blob has a pin from before its rename until
//! a record or lease holds it, and the sweep excludes new pins while it deletes; a snapshot being unpacked is active, and
//! only committed ones without children are collected, after their chain was given a lease.

use std::collections::{BTreeMap, BTreeSet};

use oci::digest::Digest;

use crate::Store;
use crate::db::Tx;
use crate::error::Result;
use crate::snapshots::{Kind, Snapshotter as _};

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    pub blobs: Vec<Digest>,
    pub bytes: u64,
    pub snapshots: Vec<String>,
}

#[derive(Debug, Default)]
struct Marks {
    blobs: BTreeSet<String>,
    snapshots: BTreeSet<String>,
}

impl Store {
    /// Removes every blob and committed snapshot that nothing holds.
    pub fn gc(&self) -> Result<GcReport> {
        let _one_at_a_time = self.collecting.lock().expect("no collection panics");
        let mut report = GcReport { snapshots: self.sweep_snapshots()?, ..GcReport::default() };
        // Marked again, after new pins are excluded: what was held in the meantime stays.
        let mut marks = None;
        let swept = self.content.sweep(|blob| {
            let marks = marks.get_or_insert_with(|| self.db.read(mark));
            marks.as_ref().is_ok_and(|marks| !marks.blobs.contains(blob.digest.as_str()))
        })?;
        if let Some(Err(error)) = marks {
            return Err(error);
        }
        report.bytes = swept.iter().map(|blob| blob.size).sum();
        report.blobs = swept.into_iter().map(|blob| blob.digest).collect();
        let gone: Vec<String> = report.blobs.iter().map(ToString::to_string).collect();
        if !gone.is_empty() {
            self.db.write(crate::Commit::Ordered, move |tx| {
                let mut statement = tx.connection.prepare_cached("DELETE FROM edges WHERE parent = ?1")?;
                for digest in &gone {
                    statement.execute([digest])?;
                }
                Ok(())
            })?;
        }
        self.overlay.cleanup()?;
        Ok(report)
    }

    fn sweep_snapshots(&self) -> Result<Vec<String>> {
        let marks = self.db.read(mark)?;
        let snapshotter = &self.overlay;
        let mut removed = Vec::new();
        let mut all: BTreeMap<String, _> =
            snapshotter.list()?.into_iter().map(|info| (info.name.clone(), info)).collect();
        // A pass removes the leaves; their parents are leaves in the next.
        loop {
            let parents: BTreeSet<String> = all.values().filter_map(|info| info.parent.clone()).collect();
            let leaves: Vec<String> = all
                .values()
                .filter(|info| info.kind == Kind::Committed)
                .filter(|info| !parents.contains(&info.name) && !marks.snapshots.contains(&info.name))
                .map(|info| info.name.clone())
                .collect();
            if leaves.is_empty() {
                return Ok(removed);
            }
            for name in leaves {
                all.remove(&name);
                match snapshotter.remove(&name) {
                    Ok(()) => removed.push(name),
                    // A container was made on it since we looked; it stays.
                    Err(error) if error.code() == api::code::Code::FailedPrecondition => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Everything that is reachable from the roots.
fn mark(tx: &Tx<'_>) -> Result<Marks> {
    let mut marks = Marks::default();
    let mut pending = Vec::new();
    let roots = "SELECT 'blob', digest FROM images UNION SELECT 'blob', image FROM containers
        UNION SELECT 'snapshot', snapshot FROM containers UNION SELECT kind, target FROM leases";
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
