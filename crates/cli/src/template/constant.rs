//! Constants in templates: numbers, characters and quoted texts, as Go writes them.

use super::value::Value;

/// The value of a number.
pub(super) fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (is_negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_lowercase();
    let radix =
        |prefix: &str, radix| lower.strip_prefix(prefix).map(|digits| i128::from_str_radix(digits, radix));
    let whole = match radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)) {
        Some(number) => number.ok(),
        None if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|c| c.is_ascii_digit()) => {
            i128::from_str_radix(&lower, 8).ok()
        }
        None => lower.parse().ok(),
    };
    if let Some(number) = whole {
        return Some(Value::Int(if is_negative { -number } else { number }));
    }
    let has_digit_first = lower.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = lower.parse().ok().filter(|_| has_digit_first)?;
    Some(Value::Float(if is_negative { -number } else { number }))
}

/// The number of a character, quotes and all.
pub(super) fn character(text: &str) -> Option<Value> {
    let mut inner = unescape(text.strip_prefix('\'')?.strip_suffix('\'')?)?.into_iter();
    match (inner.next(), inner.next()) {
        (Some(c), None) => Some(Value::Int(u32::from(c).into())),
        _ => None,
    }
}

/// The text within quotes.
pub(super) fn quoted(text: &str) -> Option<String> {
    Some(unescape(text.strip_prefix('"')?.strip_suffix('"')?)?.into_iter().collect())
}

fn unescape(text: &str) -> Option<Vec<char>> {
    let mut out = Vec::new();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = letters.next()?;
        let mut digits = |count: usize, radix: u32, first: &str| {
            let digits: String = first.chars().chain(letters.by_ref().take(count)).collect();
            let is_whole = digits.len() == count + first.len();
            u32::from_str_radix(&digits, radix).ok().filter(|_| is_whole).and_then(char::from_u32)
        };
        out.push(match escape {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => escape,
            'x' => digits(2, 16, "")?,
            'u' => digits(4, 16, "")?,
            'U' => digits(8, 16, "")?,
            '0'..='7' => digits(2, 8, &escape.to_string())?,
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{Value, character, number, quoted};

    #[test]
    fn constants_are_gos() {
        for (text, value) in [
            ("1", Some(Value::Int(1))),
            ("-0x1F", Some(Value::Int(-31))),
            ("0b101", Some(Value::Int(5))),
            ("017", Some(Value::Int(15))),
            ("1_000", Some(Value::Int(1000))),
            ("1.5", Some(Value::Float(1.5))),
            (".5", Some(Value::Float(0.5))),
            ("1e3", Some(Value::Float(1000.0))),
            ("1x", None),
            ("-", None),
            ("nan", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
        assert_eq!(character("'a'"), Some(Value::Int(97)));
        assert_eq!(character("'\\n'"), Some(Value::Int(10)));
        assert_eq!(character("'ab'"), None);
        assert_eq!(quoted(r#""a\t\x41\u00e9\101\"""#).as_deref(), Some("a\tA\u{e9}A\""));
        assert_eq!(quoted(r#""\q""#), None);
    }
}
