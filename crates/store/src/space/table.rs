//! Rows that have an id within their namespace.

use rusqlite::{OptionalExtension, Row};

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::records::found;

/// A table of such rows, and how one of them is read.
pub(super) struct Table<T> {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
    /// What one is called in errors.
    pub(super) kind: &'static str,
    pub(super) read: fn(&Row<'_>) -> Result<T>,
}

impl<T> Table<T> {
    /// The row of that id.
    pub(super) fn get(&self, tx: &Tx<'_>, namespace: &str, id: &str) -> Result<T> {
        let Table { name, columns, kind, read } = self;
        let sql = format!("SELECT {columns} FROM {name} WHERE namespace = ?1 AND id = ?2");
        let mut statement = tx.connection.prepare_cached(&sql)?;
        let row = statement.query_row([namespace, id], |row| Ok(read(row))).optional()?.transpose()?;
        row.ok_or_else(|| Error::NotFound { kind, name: id.to_owned() })
    }

    /// All rows of the namespace, by id.
    pub(super) fn list(&self, tx: &Tx<'_>, namespace: &str) -> Result<Vec<T>> {
        let Table { name, columns, read, .. } = self;
        let sql = format!("SELECT {columns} FROM {name} WHERE namespace = ?1 ORDER BY id");
        let mut statement = tx.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([namespace], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Whether there is a row of that id.
    pub(super) fn has(&self, tx: &Tx<'_>, namespace: &str, id: &str) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} WHERE namespace = ?1 AND id = ?2", self.name);
        Ok(tx.connection.prepare_cached(&sql)?.exists([namespace, id])?)
    }

    /// Removes the row of that id, which must be there.
    pub(super) fn delete(&self, tx: &Tx<'_>, namespace: &str, id: &str) -> Result<()> {
        found(self.remove(tx, namespace, id)?, self.kind, id)
    }

    /// Removes the row of that id, if it is there; how many there were.
    pub(super) fn remove(&self, tx: &Tx<'_>, namespace: &str, id: &str) -> Result<usize> {
        let sql = format!("DELETE FROM {} WHERE namespace = ?1 AND id = ?2", self.name);
        Ok(tx.connection.prepare_cached(&sql)?.execute([namespace, id])?)
    }
}
