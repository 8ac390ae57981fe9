//! Container records. Specification and state are the engine's own documents, kept as text.

use rusqlite::{OptionalExtension, Row, params};

use super::{found, unique};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::space;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Internal and unique in all namespaces.
    pub uid: String,
    pub namespace: String,
    pub id: String,
    pub name: String,
    /// The door that made it.
    pub owner: String,
    /// Digest that keeps the image's content while the container exists.
    pub image: String,
    /// Key of its active snapshot.
    pub snapshot: String,
    pub created_ns: i64,
    pub spec: String,
    pub state: String,
}

pub(super) const COLUMNS: &str = "uid, namespace, id, name, owner, image, snapshot, created_ns, spec, state";

/// Makes the record.
///
/// # Errors
/// [`crate::Error::AlreadyExists`] names the container whose name or id is taken.
pub fn insert(tx: &Tx<'_>, container: &Container) -> Result<()> {
    if space::containers::exists(tx, &container.namespace, &container.id)? {
        return Err(Error::AlreadyExists { kind: "container", name: container.id.clone() });
    }
    let mut statement = tx.connection.prepare_cached(&format!(
        "INSERT INTO containers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    ))?;
    let inserted = statement.execute(params![
        container.uid,
        container.namespace,
        container.id,
        container.name,
        container.owner,
        container.image,
        container.snapshot,
        container.created_ns,
        container.spec,
        container.state
    ]);
    unique(inserted, "container", &container.name).map(drop)
}

/// The container with that uid.
pub fn get(tx: &Tx<'_>, uid: &str) -> Result<Option<Container>> {
    one(tx, "uid = ?1", &[uid])
}

/// The container of that name.
pub fn by_name(tx: &Tx<'_>, namespace: &str, name: &str) -> Result<Option<Container>> {
    one(tx, "namespace = ?1 AND name = ?2", &[namespace, name])
}

/// All containers of a namespace, oldest first.
pub fn list(tx: &Tx<'_>, namespace: &str) -> Result<Vec<Container>> {
    let mut statement = tx.connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM containers WHERE namespace = ?1 ORDER BY created_ns, uid"
    ))?;
    let rows = statement.query_map([namespace], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All containers of all namespaces, oldest first.
pub fn list_all(tx: &Tx<'_>) -> Result<Vec<Container>> {
    let mut statement = tx
        .connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM containers ORDER BY created_ns, uid"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Replaces the state document.
pub fn update_state(tx: &Tx<'_>, uid: &str, state: &str) -> Result<()> {
    update(tx, "UPDATE containers SET state = ?2 WHERE uid = ?1", uid, state)
}

/// Replaces the specification document.
pub fn update_spec(tx: &Tx<'_>, uid: &str, spec: &str) -> Result<()> {
    update(tx, "UPDATE containers SET spec = ?2 WHERE uid = ?1", uid, spec)
}

/// Gives it another name.
///
/// # Errors
/// [`crate::Error::AlreadyExists`] when the name is taken.
pub fn rename(tx: &Tx<'_>, uid: &str, name: &str) -> Result<()> {
    let mut statement = tx.connection.prepare_cached("UPDATE containers SET name = ?2 WHERE uid = ?1")?;
    found(unique(statement.execute([uid, name]), "container", name)?, "container", uid)
}

/// Removes the record.
pub fn delete(tx: &Tx<'_>, uid: &str) -> Result<()> {
    let mut statement = tx.connection.prepare_cached("DELETE FROM containers WHERE uid = ?1")?;
    found(statement.execute([uid])?, "container", uid)
}

fn update(tx: &Tx<'_>, sql: &str, uid: &str, value: &str) -> Result<()> {
    found(tx.connection.prepare_cached(sql)?.execute([uid, value])?, "container", uid)
}

fn one(tx: &Tx<'_>, condition: &str, values: &[&str]) -> Result<Option<Container>> {
    let mut statement =
        tx.connection.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE {condition}"))?;
    Ok(statement.query_row(rusqlite::params_from_iter(values), read).optional()?)
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Container> {
    Ok(Container {
        uid: row.get(0)?,
        namespace: row.get(1)?,
        id: row.get(2)?,
        name: row.get(3)?,
        owner: row.get(4)?,
        image: row.get(5)?,
        snapshot: row.get(6)?,
        created_ns: row.get(7)?,
        spec: row.get(8)?,
        state: row.get(9)?,
    })
}
