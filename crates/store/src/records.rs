//! Typed records: a module for each noun, functions on a transaction.

pub mod containers;
pub mod edges;
pub mod images;
pub mod leases;
pub mod namespaces;
pub mod volumes;

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use crate::error::{Error, Result};
use crate::space;

/// Free-form labels of a record.
pub type Labels = BTreeMap<String, String>;

/// Reads a row, whose first columns are those of the table's module, only to see whether it can be read.
type Probe = fn(&Row<'_>) -> Result<()>;

/// The tables whose rows are read one by one.
const PROBES: [(&str, &str, Probe); 11] = [
    ("images", images::COLUMNS, |row| images::read(row).map(drop)),
    ("containers", containers::COLUMNS, |row| Ok(containers::read(row).map(drop)?)),
    ("namespaces", namespaces::COLUMNS, |row| namespaces::read(row).map(drop)),
    ("volumes", volumes::COLUMNS, |row| volumes::read(row).map(drop)),
    ("snapshots", crate::snapshots::COLUMNS, |row| Ok(crate::snapshots::read(row).map(drop)?)),
    ("space_containers", space::containers::COLUMNS, |row| space::containers::read(row).map(drop)),
    ("space_sandboxes", space::sandboxes::COLUMNS, |row| space::sandboxes::read(row).map(drop)),
    ("space_content", space::content::COLUMNS, |row| space::content::read(row).map(drop)),
    ("space_ingests", space::ingests::COLUMNS, |row| space::ingests::read(row).map(drop)),
    ("space_leases", space::leases::COLUMNS, |row| space::leases::read(row).map(drop)),
    ("space_snapshots", space::snapshots::COLUMNS, |row| space::snapshots::read(row).map(drop)),
];

/// Removes rows that cannot be read, so that one damaged row does not keep all others from being listed; what was wrong
/// with each.
pub(crate) fn scrub(connection: &Connection) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for (table, columns, probe) in PROBES {
        let mut statement = connection.prepare(&format!("SELECT {columns}, rowid AS place FROM {table}"))?;
        let mut rows = statement.query([])?;
        let mut damaged: Vec<i64> = Vec::new();
        while let Some(row) = rows.next()? {
            if let Err(error) = probe(row) {
                damaged.push(row.get("place")?);
                removed.push(format!("{table}: {error}"));
            }
        }
        for number in damaged {
            connection.execute(&format!("DELETE FROM {table} WHERE rowid = ?1"), [number])?;
        }
    }
    Ok(removed)
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps of text and our own types are always JSON")
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Record { what: format!("{what}: {error}") })
}

/// Turns a violated uniqueness into the error that says what exists.
pub(crate) fn unique<T>(result: rusqlite::Result<T>, kind: &'static str, name: &str) -> Result<T> {
    result.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            Error::AlreadyExists { kind, name: name.to_owned() }
        }
        _ => error.into(),
    })
}

/// Turns "no row was changed" into the error that says what is missing.
pub(crate) fn found(changed: usize, kind: &'static str, name: &str) -> Result<()> {
    if changed == 0 {
        return Err(Error::NotFound { kind, name: name.to_owned() });
    }
    Ok(())
}
