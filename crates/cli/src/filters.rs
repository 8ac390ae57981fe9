//! `--filter KEY=VALUE`: what the API takes as one JSON object in the query.

use std::collections::BTreeMap;

use clap::Arg;

use crate::client::Path;
use crate::error::Error;
use crate::flags::{Given, list};

/// The values that each key may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, BTreeMap<String, bool>>);

/// The flag.
pub(crate) fn flag(help: &'static str) -> Arg {
    list("filter", "filter", help)
}

impl Filters {
    /// What was given with the flag.
    pub(crate) fn read(given: &Given) -> Result<Filters, Error> {
        let mut filters = Filters::default();
        for (key, value) in given.parsed_list("filter", split)? {
            filters.add(&key, &value);
        }
        Ok(filters)
    }

    /// One more value for a key.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().insert(value.to_owned(), true);
    }

    /// Whether that key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All of them, as they were typed.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(key, values)| values.keys().map(move |value| format!("{key}={value}")))
    }

    /// Puts them into a query.
    pub(crate) fn apply(&self, path: Path) -> Path {
        if self.0.is_empty() {
            return path;
        }
        path.query("filters", &serde_json::to_string(&self.0).expect("a map of strings"))
    }
}

fn split(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_lowercase(), value.trim().to_owned())),
        None => Err("bad format of filter (expected name=value)"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Filters, split};
    use crate::client::Path;

    #[test]
    fn filters_travel_as_docker_sends_them() {
        let mut filters = Filters::default();
        assert_eq!(filters.apply(Path::new("/x")), Path::new("/x"));
        for text in ["label=a=b", "STATUS = running", "label=c"] {
            let (key, value) = split(text).unwrap();
            filters.add(&key, &value);
        }
        let json = r#"{"label":{"a=b":true,"c":true},"status":{"running":true}}"#;
        assert_eq!(filters.apply(Path::new("/x")), Path::new("/x").query("filters", json));
        assert!(split("label").is_err());
    }
}
