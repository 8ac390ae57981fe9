//! The rows: what a namespace calls the machine's snapshots.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use super::{Info, Refusal, names};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::records::{Labels, from_json, to_json};
use crate::snapshots::{self, Kind};

/// A row, and what kind of snapshot it is of.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) info: Info,
    /// Its name among the machine's snapshots.
    pub(super) backend: String,
}

/// The rows of one namespace and snapshotter, in a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) tx: &'a Tx<'a>,
    pub(super) namespace: &'a str,
    /// The snapshotter as clients call it, and as the machine's snapshots have it.
    pub(super) client: &'static str,
    pub(super) machine: &'static str,
}

pub(crate) const COLUMNS: &str = "key, backend, parent, created_ns, updated_ns, labels";

impl Rows<'_> {
    pub(super) fn get(&self, key: &str) -> Result<Option<Row>> {
        let mut statement = self.tx.connection.prepare_cached(&format!("{SELECT} AND space.key = ?4"))?;
        let row = statement
            .query_row([self.machine, self.namespace, self.client, key], |row| Ok(joined(row)))
            .optional()?;
        row.transpose()
    }

    pub(super) fn by_backend(&self, backend: &str) -> Result<Option<Row>> {
        let mut statement = self.tx.connection.prepare_cached(&format!("{SELECT} AND space.backend = ?4"))?;
        let row = statement
            .query_row([self.machine, self.namespace, self.client, backend], |row| Ok(joined(row)))
            .optional()?;
        row.transpose()
    }

    /// A committed snapshot that another is to be made on.
    pub(super) fn base(&self, key: &str) -> Result<Row> {
        let row = self.get(key)?.ok_or_else(|| Refusal::MissingParent(key.to_owned()))?;
        match row.info.kind {
            Kind::Committed => Ok(row),
            _ => Err(Refusal::ParentNotCommitted(key.to_owned()).into()),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Row>> {
        let mut statement = self.tx.connection.prepare_cached(&format!("{SELECT} ORDER BY space.key"))?;
        let rows = statement.query_map([self.machine, self.namespace, self.client], |row| Ok(joined(row)))?;
        rows.map(|row| row?).collect()
    }

    pub(super) fn has_child(&self, key: &str) -> Result<bool> {
        let sql =
            "SELECT 1 FROM space_snapshots WHERE namespace = ?1 AND snapshotter = ?2 AND parent = ?3 LIMIT 1";
        Ok(self.tx.connection.prepare_cached(sql)?.exists([self.namespace, self.client, key])?)
    }

    /// Makes the row, or changes it.
    pub(super) fn insert(&self, info: &Info, backend: &str) -> Result<()> {
        insert(self.tx, (self.namespace, self.client), info, backend, "REPLACE")
    }

    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let sql = "DELETE FROM space_snapshots WHERE namespace = ?1 AND snapshotter = ?2 AND key = ?3";
        self.tx.connection.prepare_cached(sql)?.execute([self.namespace, self.client, key])?;
        Ok(())
    }

    /// What a snapshot of this namespace's own is called.
    pub(super) fn backend_of(&self, key: &str) -> String {
        format!("{}/{key}", self.namespace)
    }

    /// Whether a client of this namespace made it.
    pub(super) fn is_own(&self, backend: &str) -> bool {
        owner(backend).is_some()
    }
}

/// Rows whose snapshot is there.
const SELECT: &str = "SELECT space.key, space.backend, space.parent, space.created_ns, space.updated_ns, space.labels, snapshots.kind
    FROM space_snapshots AS space JOIN snapshots ON snapshots.snapshotter = ?1 AND snapshots.name = space.backend
    WHERE space.namespace = ?2 AND space.snapshotter = ?3";

/// A row of [`COLUMNS`], without the kind: that is in another table.
pub(crate) fn read(row: &rusqlite::Row<'_>) -> Result<(Info, String)> {
    let labels = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
    let info = Info {
        key: row.get(0)?,
        parent: row.get(2)?,
        kind: Kind::Committed,
        created_ns: row.get(3)?,
        updated_ns: row.get(4)?,
        labels: from_json("labels of a snapshot", labels)?,
    };
    Ok((info, row.get(1)?))
}

fn joined(row: &rusqlite::Row<'_>) -> Result<Row> {
    let (mut info, backend) = read(row)?;
    info.kind = snapshots::read_kind(&row.get::<_, String>(6)?)?;
    Ok(Row { info, backend })
}

pub(super) fn insert(
    tx: &Tx<'_>,
    (namespace, client): (&str, &str),
    info: &Info,
    backend: &str,
    on_conflict: &str,
) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(&format!(
        "INSERT OR {on_conflict} INTO space_snapshots (namespace, snapshotter, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    ))?;
    let labels = to_json(&info.labels);
    let row =
        params![namespace, client, info.key, backend, info.parent, info.created_ns, info.updated_ns, labels];
    statement.execute(row)?;
    Ok(())
}

/// The namespace and the key of a snapshot that a client made.
pub(super) fn owner(backend: &str) -> Option<(&str, &str)> {
    backend.split_once('/')
}

/// Removes the rows of a snapshot that goes; `machine` is its snapshotter as the machine's snapshots have it.
pub(crate) fn forget(tx: &Tx<'_>, machine: &str, number: i64) -> Result<()> {
    let sql = "DELETE FROM space_snapshots WHERE snapshotter = ?1 AND backend =
        (SELECT name FROM snapshots WHERE snapshotter = ?2 AND number = ?3)";
    tx.connection.prepare_cached(sql)?.execute(params![names::to_client(machine), machine, number])?;
    Ok(())
}

/// Makes rows and snapshots agree again where one of them was damaged: rows without a snapshot go, and a client's snapshot
/// without a row gets one, without the labels that it had. What went.
pub(crate) fn mend(tx: &Tx<'_>) -> Result<Vec<String>> {
    let mut lost = Vec::new();
    for machine in names::MACHINES {
        let client = names::to_client(machine);
        let sql = "DELETE FROM space_snapshots WHERE snapshotter = ?1 AND backend NOT IN
            (SELECT name FROM snapshots WHERE snapshotter = ?2) RETURNING namespace || '/' || key";
        let mut statement = tx.connection.prepare_cached(sql)?;
        let gone = statement.query_map([client, machine], |row| row.get(0))?;
        lost.extend(gone.collect::<rusqlite::Result<Vec<String>>>()?);
        let mut statement =
            tx.connection.prepare_cached("SELECT backend FROM space_snapshots WHERE snapshotter = ?1")?;
        let known = statement.query_map([client], |row| row.get(0))?;
        let known: BTreeSet<String> = known.collect::<rusqlite::Result<_>>()?;
        for snapshot in snapshots::list(tx, machine)?.iter().filter(|info| !known.contains(&info.name)) {
            let Some((namespace, key)) = owner(&snapshot.name) else { continue };
            let parent = snapshot.parent.as_deref();
            let info = Info {
                key: key.to_owned(),
                parent: parent.map(|parent| owner(parent).map_or(parent, |(_, key)| key).to_owned()),
                kind: snapshot.kind,
                created_ns: snapshot.created_ns,
                updated_ns: snapshot.created_ns,
                labels: Labels::new(),
            };
            insert(tx, (namespace, client), &info, &snapshot.name, "IGNORE")?;
        }
    }
    Ok(lost)
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Snapshots(refusal)
    }
}
