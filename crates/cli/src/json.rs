//! JSON as text: indented the way `docker inspect` does it, without changing a number or the order of a key.

/// Re-indents one JSON document by `indent` per level, with `prefix` before every line but the first.
///
/// Works on the text, because a round trip through values would sort keys and touch numbers.
pub(crate) fn indent(document: &str, prefix: &str, indent: &str) -> String {
    let mut out = String::with_capacity(document.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut is_empty = false;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(prefix);
        out.extend(std::iter::repeat_n(indent, depth));
    };
    for c in document.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if std::mem::take(&mut is_empty) && !closes {
            depth += 1;
            line(&mut out, depth);
        } else if closes && !out.ends_with(['{', '[']) {
            depth -= 1;
            line(&mut out, depth);
        }
        match c {
            '{' | '[' => is_empty = true,
            '"' => in_string = true,
            _ => {}
        }
        out.push(c);
        match c {
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

/// The document on one line, as Go's encoder writes it.
pub(crate) fn compact(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in document.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{compact, indent};
    use proptest::prelude::*;

    #[test]
    fn documents_are_indented_as_docker_does() {
        let cases = [
            ("[]", "[]"),
            ("{}", "{}"),
            ("[{}]", "[\n    {}\n]"),
            (
                r#"{"b":1,"a":[1.50,"x,{\"}"],"e":{}}"#,
                "{\n    \"b\": 1,\n    \"a\": [\n        1.50,\n        \"x,{\\\"}\"\n    ],\n    \"e\": {}\n}",
            ),
            (
                r#"[ { "a" : [ [ ] , null ] } ]"#,
                "[\n    {\n        \"a\": [\n            [],\n            null\n        ]\n    }\n]",
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(indent(document, "", "    "), expected, "{document}");
        }
        assert_eq!(indent(r#"{"a":1}"#, "    ", "    "), "{\n        \"a\": 1\n    }");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "\\PC*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("\\PC*", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn indenting_is_what_serde_does_and_compacting_undoes_it(value in any_json()) {
            let text = value.to_string();
            let pretty = indent(&text, "", "  ");
            prop_assert_eq!(&pretty, &serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(compact(&pretty), text);
        }
    }
}
