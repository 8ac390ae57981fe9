//! Volume records. The files are the engine's.

use rusqlite::{OptionalExtension, Row, params};

use super::{Labels, found, from_json, to_json, unique};
use crate::db::Tx;
use crate::error::Result;

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub namespace: String,
    pub name: String,
    pub labels: Labels,
    pub options: Labels,
    pub created_ns: i64,
}

pub(super) const COLUMNS: &str = "namespace, name, labels, options, created_ns";

/// Makes the record.
///
/// # Errors
/// [`crate::Error::AlreadyExists`] when the name is taken.
pub fn insert(tx: &Tx<'_>, volume: &Volume) -> Result<()> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("INSERT INTO volumes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)"))?;
    let inserted = statement.execute(params![
        volume.namespace,
        volume.name,
        to_json(&volume.labels),
        to_json(&volume.options),
        volume.created_ns
    ]);
    unique(inserted, "volume", &volume.name).map(drop)
}

/// The volume of that name.
pub fn get(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<Option<Volume>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM volumes WHERE namespace = ?1 AND name = ?2"))?;
    statement.query_row([namespace, name], |row| Ok(read(row))).optional()?.transpose()
}

/// All volumes of a namespace, by name.
pub fn list(tx: &Tx<'_>, namespace: &str) -> Result<Vec<Volume>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM volumes WHERE namespace = ?1 ORDER BY name"))?;
    let rows = statement.query_map([namespace], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

/// Removes the record.
pub fn delete(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<()> {
    let mut statement =
        tx.connection.prepare_cached("DELETE FROM volumes WHERE namespace = ?1 AND name = ?2")?;
    found(statement.execute([namespace, name])?, "volume", name)
}

pub(super) fn read(row: &Row<'_>) -> Result<Volume> {
    Ok(Volume {
        namespace: row.get(0)?,
        name: row.get(1)?,
        labels: from_json("volume labels", row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        options: from_json("volume options", row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
        created_ns: row.get(4)?,
    })
}
