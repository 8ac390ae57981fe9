//! Typed records: a module for each noun, functions on a transaction.

pub mod containers;
pub mod edges;
pub mod images;
pub mod leases;
pub mod volumes;

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Free-form labels of a record.
pub type Labels = BTreeMap<String, String>;

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
