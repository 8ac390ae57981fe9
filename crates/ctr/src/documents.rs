//! Documents as JSON: indented as containerd's clients do, and messages of the daemon in the names of their fields.

use std::collections::HashMap;
use std::fmt::Write;

use base64::Engine;
use prost_types::Any;
use serde_json::{Map, Value, json};

/// Indented by four blanks.
pub(crate) fn pretty(value: &Value) -> String {
    indented(value, b"    ")
}

/// Indented by `blanks`.
pub(crate) fn indented(value: &Value, blanks: &[u8]) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(blanks);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::ser::Serialize::serialize(value, &mut serializer).expect("a value has only text as keys");
    String::from_utf8(text).expect("JSON is text")
}

/// A value that is JSON, or how it is kept: its type and its bytes.
pub(crate) fn any(any: &Any) -> Value {
    match serde_json::from_slice(&any.value) {
        Ok(document) if any.type_url.starts_with("types.containerd.io/") => document,
        _ => opaque(any),
    }
}

/// A value by its type and its bytes, neither of them when empty.
pub(crate) fn opaque(any: &Any) -> Value {
    let mut object = Map::new();
    if !any.type_url.is_empty() {
        object.insert("type_url".into(), any.type_url.clone().into());
    }
    if !any.value.is_empty() {
        object.insert("value".into(), base64::engine::general_purpose::STANDARD.encode(&any.value).into());
    }
    object.into()
}

/// Labels, sorted.
pub(crate) fn labels(labels: &HashMap<String, String>) -> Value {
    let mut pairs: Vec<_> = labels.iter().collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>().into()
}

/// One line of a tree below `prefix`: a branch, or the last one.
pub(crate) fn branch(out: &mut String, prefix: &str, is_last: bool, text: &str) {
    let _ = writeln!(out, "{prefix}{} {text}", if is_last { "└──" } else { "├──" });
}
