//! Image records: a name in a namespace, and what it points at.

use oci::descriptor::Descriptor;
use rusqlite::{OptionalExtension, Row, params};

use super::{Labels, found, from_json, to_json};
use crate::db::Tx;
use crate::error::Result;

/// A named image. The name is kept verbatim.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub namespace: String,
    pub name: String,
    /// A manifest or an index.
    pub target: Descriptor,
    pub created_ns: i64,
    pub updated_ns: i64,
    pub labels: Labels,
}

pub(super) const COLUMNS: &str = "namespace, name, target, created_ns, updated_ns, labels";

/// The image of that name.
pub fn get(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<Option<Image>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE namespace = ?1 AND name = ?2"))?;
    statement.query_row([namespace, name], |row| Ok(read(row))).optional()?.transpose()
}

/// All images of a namespace, by name.
pub fn list(tx: &Tx<'_>, namespace: &str) -> Result<Vec<Image>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM images WHERE namespace = ?1 ORDER BY name"))?;
    let rows = statement.query_map([namespace], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

/// Makes the record, or points an existing one at a new target.
pub fn put(tx: &Tx<'_>, image: &Image) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(
        "INSERT INTO images (namespace, name, target, digest, created_ns, updated_ns, labels)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (namespace, name) DO UPDATE SET
         target = excluded.target, digest = excluded.digest, updated_ns = excluded.updated_ns, labels = excluded.labels",
    )?;
    statement.execute(params![
        image.namespace,
        image.name,
        to_json(&image.target),
        image.target.digest.as_str(),
        image.created_ns,
        image.updated_ns,
        to_json(&image.labels)
    ])?;
    Ok(())
}

/// Removes the record; content goes with the next garbage collection.
pub fn delete(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<()> {
    let mut statement =
        tx.connection.prepare_cached("DELETE FROM images WHERE namespace = ?1 AND name = ?2")?;
    found(statement.execute([namespace, name])?, "image", name)
}

pub(super) fn read(row: &Row<'_>) -> Result<Image> {
    Ok(Image {
        namespace: row.get(0)?,
        name: row.get(1)?,
        target: from_json("image target", row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        created_ns: row.get(3)?,
        updated_ns: row.get(4)?,
        labels: from_json("image labels", row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?,
    })
}
