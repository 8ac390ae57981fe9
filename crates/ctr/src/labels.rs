//! Labels: `key=value` on the command line, and `a=b,c=d` in tables.

use std::collections::HashMap;

/// Labels in a column: sorted, or `-`.
pub(crate) fn column(labels: &HashMap<String, String>) -> String {
    match labels.is_empty() {
        true => "-".to_owned(),
        false => joined(labels),
    }
}

/// Labels sorted, with commas between.
pub(crate) fn joined(labels: &HashMap<String, String>) -> String {
    let mut pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// Words as labels. A word without `=` sets a label to `unset`: `true` where that marks, nothing where that removes.
pub(crate) fn parse(words: &[String], unset: &str) -> HashMap<String, String> {
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (word.clone(), unset.to_owned()),
        })
        .collect()
}

/// The paths of an update that touches these labels and no others.
pub(crate) fn paths(labels: &HashMap<String, String>) -> Vec<String> {
    labels.keys().map(|key| format!("labels.{key}")).collect()
}
