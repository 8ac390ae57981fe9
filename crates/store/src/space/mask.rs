//! Masks: which fields of a container, sandbox or image an update changes.
//!
//! A path names a field, or one key of a field that is a map (`labels.a.b` is the key `a.b`). A key that the update does not
//! have is removed. Without any path all fields that can be changed are.

use std::collections::BTreeMap;

use crate::error::Error;

/// A path, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path<'a> {
    Field(&'a str),
    Key(&'a str, &'a str),
}

impl<'a> Path<'a> {
    /// `maps` are the fields of which single keys can be named.
    pub(super) fn parse(path: &'a str, maps: &[&str]) -> Path<'a> {
        match path.split_once('.') {
            Some((field, key)) if maps.contains(&field) => Path::Key(field, key),
            _ => Path::Field(path),
        }
    }

    /// That nothing of this name can be changed; `of` is the object, as the message has it.
    pub(super) fn refuse(path: &str, of: &str) -> Error {
        Error::Invalid { why: format!("cannot update {path:?} field on {of}") }
    }
}

/// Gives `key` the value that it has in `update`.
pub(super) fn set<T: Clone>(map: &mut BTreeMap<String, T>, key: &str, update: &BTreeMap<String, T>) {
    match update.get(key) {
        Some(value) => map.insert(key.to_owned(), value.clone()),
        None => map.remove(key),
    };
}

/// The paths of an update that names none.
pub(super) fn or_all<'a>(paths: &'a [String], all: &'a [&'a str]) -> Vec<&'a str> {
    match paths {
        [] => all.to_vec(),
        paths => paths.iter().map(String::as_str).collect(),
    }
}
