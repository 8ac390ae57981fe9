//! Adoption: what the engine made for the images and containers of a namespace gets its row when a client asks for it.
//!
//! | what | key | labels |
//! |---|---|---|
//! | layers of an image that is unpacked | the chain id, which is also the snapshot's name | `containerd.io/snapshot.ref`, as clients give it |
//! | a container's own layer | the container's id | none |

use rusqlite::Row;

use super::rows;
use super::{Info, OVERLAYFS, Snapshots, TARGET_LABEL};
use crate::db::{Commit, Tx};
use crate::error::Result;
use crate::records::Labels;
use crate::snapshots::{Kind, read_kind};

/// What images and containers of a namespace hold, as the garbage collection follows it, that has no row there: parents first.
const UNADOPTED: &str = "
WITH RECURSIVE held (kind, name) AS (
    SELECT 'blob', digest FROM images WHERE namespace = ?1
    UNION SELECT 'blob', image FROM containers WHERE namespace = ?1
    UNION SELECT 'snapshot', snapshot FROM containers WHERE namespace = ?1
    UNION SELECT edges.kind, edges.child FROM held JOIN edges ON held.kind = 'blob' AND edges.parent = held.name
    UNION SELECT 'snapshot', snapshots.parent FROM held JOIN snapshots
        ON held.kind = 'snapshot' AND snapshots.snapshotter = 'overlay' AND snapshots.name = held.name
        WHERE snapshots.parent IS NOT NULL)
SELECT coalesce(containers.id, snapshots.name) AS key, snapshots.name, snapshots.parent, snapshots.created_ns, snapshots.kind
FROM held JOIN snapshots
    ON held.kind = 'snapshot' AND snapshots.snapshotter = 'overlay' AND snapshots.name = held.name
LEFT JOIN containers ON containers.namespace = ?1 AND containers.snapshot = snapshots.name
WHERE NOT EXISTS (
    SELECT 1 FROM space_snapshots AS space
    WHERE space.namespace = ?1 AND space.snapshotter = 'overlayfs' AND space.key = coalesce(containers.id, snapshots.name))";

impl Snapshots<'_> {
    /// Adopts what the engine made, if it made one of `keys` (of none: anything) and that has no row yet.
    pub(super) fn adopt(&self, keys: &[&str]) -> Result<()> {
        // The engine makes its snapshots with this one only.
        if self.name != OVERLAYFS {
            return Ok(());
        }
        let is_needed = self.read(|rows| {
            let mut is_known = !keys.is_empty();
            for key in keys {
                is_known &= rows.get(key)?.is_some();
            }
            if is_known {
                return Ok(false);
            }
            let found = unadopted(rows.tx, rows.namespace)?;
            Ok(found.iter().any(|(info, _)| keys.is_empty() || keys.contains(&info.key.as_str())))
        })?;
        if !is_needed {
            return Ok(());
        }
        let namespace = self.space.namespace.to_owned();
        self.space.store.db.write(Commit::Ordered, move |tx| {
            for (info, backend) in unadopted(tx, &namespace)? {
                rows::insert(tx, (&namespace, OVERLAYFS), &info, &backend, "IGNORE")?;
            }
            Ok(())
        })
    }
}

/// Lets go of a layer: no image holds it any more, until it is unpacked again.
pub(super) fn let_go(tx: &Tx<'_>, backend: &str) -> Result<()> {
    let sql = "DELETE FROM edges WHERE kind = 'snapshot' AND child = ?1";
    tx.connection.prepare_cached(sql)?.execute([backend])?;
    Ok(())
}

fn unadopted(tx: &Tx<'_>, namespace: &str) -> Result<Vec<(Info, String)>> {
    let mut statement = tx.connection.prepare_cached(UNADOPTED)?;
    let found = statement.query_map([namespace], |row| Ok(read(row)))?;
    found.map(|row| row?).collect()
}

fn read(row: &Row<'_>) -> Result<(Info, String)> {
    let (key, created_ns) = (row.get(0)?, row.get(3)?);
    let kind = read_kind(&row.get::<_, String>(4)?)?;
    let labels = match kind {
        Kind::Committed => Labels::from([(TARGET_LABEL.to_owned(), String::clone(&key))]),
        Kind::Active | Kind::View => Labels::new(),
    };
    let info = Info { key, parent: row.get(2)?, kind, created_ns, updated_ns: created_ns, labels };
    Ok((info, row.get(1)?))
}
