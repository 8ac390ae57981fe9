//! Leases: hold content and snapshots that nothing else holds yet.
//!
//! Internal leases live as long as the process; those that a killed one left are dropped when the store is opened.

use super::edges::Held;
use crate::db::Tx;
use crate::error::Result;

/// Adds `held` to the lease `id`, which begins with its first entry.
pub fn add(tx: &Tx<'_>, id: &str, held: Held<'_>) -> Result<()> {
    let (kind, target) = held.columns();
    let mut statement = tx
        .connection
        .prepare_cached("INSERT OR IGNORE INTO leases (id, kind, target) VALUES (?1, ?2, ?3)")?;
    statement.execute([id, kind, target])?;
    Ok(())
}

/// Ends the lease with all that it holds. Ending one that does not exist is no error.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    tx.connection.prepare_cached("DELETE FROM leases WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Drops every lease.
pub(crate) fn clear(tx: &Tx<'_>) -> Result<()> {
    tx.connection.execute("DELETE FROM leases", [])?;
    Ok(())
}
