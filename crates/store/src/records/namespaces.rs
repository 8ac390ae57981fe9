//! Namespaces: labels of those that were made by name, and what is in each.

use rusqlite::{OptionalExtension, Row};

use super::{Labels, found, from_json, to_json};
use crate::db::Tx;
use crate::error::{Error, Result};

/// A namespace, and how much is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    pub name: String,
    pub labels: Labels,
    pub containers: usize,
    pub images: usize,
}

pub(super) const COLUMNS: &str = "name, labels";

/// All that were made by name, or that something is in; by name.
pub fn list(tx: &Tx<'_>) -> Result<Vec<Namespace>> {
    let mut statement = tx.connection.prepare_cached(
        "SELECT name, max(labels),
            (SELECT count(*) FROM containers WHERE namespace = spoken.name)
                + (SELECT count(*) FROM space_containers WHERE namespace = spoken.name),
            (SELECT count(*) FROM images WHERE namespace = spoken.name)
         FROM (SELECT name, labels FROM namespaces
               UNION ALL SELECT namespace, NULL FROM containers
               UNION ALL SELECT namespace, NULL FROM images) AS spoken
         GROUP BY name ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(match row.get_ref(1)?.as_str_or_null()? {
            None => Ok(Labels::new()),
            Some(text) => from_json("namespace labels", text),
        }
        .and_then(|labels| {
            Ok(Namespace {
                name: row.get(0)?,
                labels,
                containers: row.get::<_, u32>(2)? as usize,
                images: row.get::<_, u32>(3)? as usize,
            })
        }))
    })?;
    rows.map(|row| row?).collect()
}

/// The labels of one that was made by name.
pub fn labels(tx: &Tx<'_>, name: &str) -> Result<Option<Labels>> {
    let mut statement =
        tx.connection.prepare_cached(&format!("SELECT {COLUMNS} FROM namespaces WHERE name = ?1"))?;
    statement.query_row([name], |row| Ok(read(row))).optional()?.transpose().map(|row| row.map(|row| row.1))
}

/// Makes it, or gives it other labels.
pub fn put(tx: &Tx<'_>, name: &str, labels: &Labels) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(
        "INSERT INTO namespaces (name, labels) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET labels = excluded.labels",
    )?;
    statement.execute([name, &to_json(labels)])?;
    Ok(())
}

/// Makes it if it is not there.
pub(crate) fn note(tx: &Tx<'_>, name: &str) -> Result<()> {
    let mut statement =
        tx.connection.prepare_cached("INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?1, '{}')")?;
    statement.execute([name])?;
    Ok(())
}

/// Makes one by name.
///
/// # Errors
/// `AlreadyExists`, also for one that is there only because something was written in it.
pub fn create(tx: &Tx<'_>, name: &str, labels: &Labels) -> Result<()> {
    if list(tx)?.iter().any(|one| one.name == name) {
        return Err(Error::AlreadyExists { kind: "namespace", name: name.to_owned() });
    }
    put(tx, name, labels)
}

/// Removes one that nothing is in, with the rest that clients of containerd left there.
///
/// # Errors
/// `NotFound`; [`Error::NotEmpty`] says what is in it.
pub fn delete(tx: &Tx<'_>, name: &str) -> Result<()> {
    let left = left_in(tx, name)?;
    if !left.is_empty() {
        return Err(Error::NotEmpty { name: name.to_owned(), left });
    }
    for table in ["space_leases", "space_leased", "space_ingests", "space_sandboxes", "space_hidden"] {
        tx.connection.execute(&format!("DELETE FROM {table} WHERE namespace = ?1"), [name])?;
    }
    let mut statement = tx.connection.prepare_cached("DELETE FROM namespaces WHERE name = ?1")?;
    found(statement.execute([name])?, "namespace", name)
}

/// What keeps a namespace, in containerd's words.
fn left_in(tx: &Tx<'_>, name: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (what, table) in [
        ("images", "images"),
        ("blobs", "space_content"),
        ("containers", "containers"),
        ("containers", "space_containers"),
    ] {
        let sql = format!("SELECT 1 FROM {table} WHERE namespace = ?1 LIMIT 1");
        if tx.connection.prepare_cached(&sql)?.exists([name])? && !left.iter().any(|known| known == what) {
            left.push(what.to_owned());
        }
    }
    let sql = "SELECT DISTINCT snapshotter FROM space_snapshots WHERE namespace = ?1 ORDER BY snapshotter";
    let mut statement = tx.connection.prepare_cached(sql)?;
    let snapshotters = statement.query_map([name], |row| row.get::<_, String>(0))?;
    for snapshotter in snapshotters {
        left.push(format!("snapshots on {:?} snapshotter", snapshotter?));
    }
    Ok(left)
}

pub(super) fn read(row: &Row<'_>) -> Result<(String, Labels)> {
    let labels = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
    Ok((row.get(0)?, from_json("namespace labels", labels)?))
}
