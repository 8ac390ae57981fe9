//! A configuration as text, in containerd's form: tables are indented, strings have single quotes, so that what edits the text
//! of one edits that of the other.

use std::fmt::Write as _;

use toml::{Table, Value};

/// The text of a document.
pub(super) fn text(table: &Table) -> String {
    let mut text = String::new();
    write(&mut text, "", table, 0);
    text
}

/// A key as it stands in a file: bare where that is allowed.
pub(super) fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { string(name) }
}

fn write(text: &mut String, path: &str, table: &Table, depth: usize) {
    let indent = "  ".repeat(depth);
    for (name, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        writeln!(text, "{indent}{} = {}", key(name), inline(value)).expect("a string takes any text");
    }
    // The keys of a table are one step further in than its head; the document has no head.
    for (name, value) in table {
        let Value::Table(inner) = value else { continue };
        let full = if path.is_empty() { key(name) } else { format!("{path}.{}", key(name)) };
        writeln!(text, "\n{indent}[{full}]").expect("a string takes any text");
        write(text, &full, inner, depth + 1);
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(content) => string(content),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn string(content: &str) -> String {
    if content.chars().any(|letter| letter == '\'' || letter.is_control()) {
        Value::String(content.to_owned()).to_string()
    } else {
        format!("'{content}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let source = "a = 1
            quoted = \"it's\\n\"
            list = ['x', \"y'\"]
            nested = [['k', 'c'], [{ a = 1 }]]
            float = 0.02
            [plugins.\"io.containerd.x\"]
            on = false
            [plugins.\"io.containerd.x\".inner]
            [plugins.\"io.containerd.x\".\"in'ner\"]
            '' = 1";
        let table: Table = source.parse().unwrap();
        let printed = text(&table);
        assert_eq!(printed.parse::<Table>().unwrap(), table, "{printed}");
        assert!(printed.contains("\n  [plugins.'io.containerd.x']\n    on = false\n"), "{printed}");
    }
}
