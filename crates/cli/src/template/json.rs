//! Values as JSON, as Go's encoder writes them.

use std::fmt::Write;

use super::value::{Kind, Value};

/// One line of JSON. A row is escaped for HTML, as Docker's rows are.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    let for_html = matches!(value, Value::Map(map) if map.kind == Kind::Row);
    write(value, for_html, &mut out);
    out
}

fn write(value: &Value, for_html: bool, out: &mut String) {
    match value {
        Value::Empty(_) | Value::Labels(_) => *out += "null",
        Value::Bool(flag) => *out += if *flag { "true" } else { "false" },
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Float(_) => *out += &super::print::plain(value),
        Value::Text(text) => string(text, for_html, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, for_html, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            let fields: Vec<_> = match map.kind {
                Kind::Structure => map.fields.iter().map(|(name, value)| (name, value)).collect(),
                Kind::Map | Kind::Row => map.sorted(),
            };
            // A method is no data: the `Label` of a row is not shown.
            let shown = fields.into_iter().filter(|(_, value)| !matches!(value, Value::Labels(_)));
            out.push('{');
            for (index, (name, value)) in shown.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                string(name, for_html, out);
                out.push(':');
                write(value, for_html, out);
            }
            out.push('}');
        }
    }
}

fn string(text: &str, for_html: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => *out += "\\\"",
            '\\' => *out += "\\\\",
            '\n' => *out += "\\n",
            '\r' => *out += "\\r",
            '\t' => *out += "\\t",
            '\u{8}' => *out += "\\b",
            '\u{c}' => *out += "\\f",
            '<' | '>' | '&' if for_html => drop(write!(out, "\\u{:04x}", u32::from(c))),
            '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
