//! How Go prints values: `fmt`'s verbs, flags, widths and complaints.

use std::fmt::Write;

use super::value::{Empty, Kind, Value};

/// The widest padding and the longest precision: what a template asks for must not fill the memory.
const MAX_WIDTH: usize = 4096;

/// The value as `%v` shows it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Empty(Empty::Nothing | Empty::Pointer) => "<nil>".into(),
        Value::Empty(Empty::List) => "[]".into(),
        Value::Empty(Empty::Map) => "map[]".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => shortest(*number),
        Value::Text(text) => text.to_string(),
        _ => nested(value, &plain),
    }
}

/// A list or a map whose parts are shown by `part`.
fn nested(value: &Value, part: &dyn Fn(&Value) -> String) -> String {
    match value {
        Value::List(items) => format!("[{}]", join(items.iter(), part)),
        Value::Map(map) if map.kind == Kind::Structure => format!("{{{}}}", join(map.values(), part)),
        Value::Map(map) => {
            let pairs = map.sorted().into_iter().filter(|(_, value)| !matches!(value, Value::Labels(_)));
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{}:{}", part(&Value::Text(name.clone())), part(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Labels(_) => "Label".into(),
        other => part(other),
    }
}

fn join<'a>(values: impl Iterator<Item = &'a Value>, part: &dyn Fn(&Value) -> String) -> String {
    values.map(part).collect::<Vec<_>>().join(" ")
}

/// A floating-point number in the fewest digits, with an exponent where it is very large or small.
fn shortest(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size == 0.0 || (1e-4..1e21).contains(&size) => number.to_string(),
        _ if number.is_finite() => exponent(&format!("{number:e}"), 'e'),
        _ if number.is_nan() => "NaN".into(),
        _ => if number > 0.0 { "+Inf" } else { "-Inf" }.into(),
    }
}

/// `1.5e7` as Go writes it: `1.5e+07`.
fn exponent(text: &str, letter: char) -> String {
    let (digits, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}{letter}{sign}{power:0>2}")
}

/// `Sprint`: a space between two that are no texts.
pub(super) fn sprint(values: &[Value]) -> String {
    let mut out = String::new();
    let mut was_text = true;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        if index > 0 && !is_text && !was_text {
            out.push(' ');
        }
        out += &plain(value);
        was_text = is_text;
    }
    out
}

/// `Sprintln`: a space between all.
pub(super) fn sprintln(values: &[Value]) -> String {
    values.iter().map(plain).collect::<Vec<_>>().join(" ") + "\n"
}

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `Sprintf`.
pub(super) fn sprintf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut letters = format.chars().peekable();
    let mut arguments = values.iter();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = letters.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => flags.minus = true,
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                _ => flags.zero = true,
            }
        }
        flags.width = count(&mut letters, &mut arguments, &mut flags.minus);
        if letters.next_if_eq(&'.').is_some() {
            let mut ignored = false;
            flags.precision = Some(count(&mut letters, &mut arguments, &mut ignored).unwrap_or(0));
        }
        match letters.next() {
            None => out += "%!(NOVERB)",
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                None => drop(write!(out, "%!{verb}(MISSING)")),
                Some(value) => out += &pad(verb_text(verb, value, flags), flags),
            },
        }
    }
    let extra: Vec<String> =
        arguments.map(|value| format!("{}={}", value.type_name(), plain(value))).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    out
}

/// A width or precision: digits, or `*` for the next argument.
fn count<'a>(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut impl Iterator<Item = &'a Value>,
    minus: &mut bool,
) -> Option<usize> {
    if letters.next_if_eq(&'*').is_some() {
        let Some(Value::Int(number)) = arguments.next() else { return None };
        *minus |= *number < 0;
        return usize::try_from(number.unsigned_abs()).ok().map(|count| count.min(MAX_WIDTH));
    }
    let mut number: Option<usize> = None;
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        let digit = usize::from(u8::try_from(digit).unwrap_or(b'0') - b'0');
        number = Some((number.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
    }
    number
}

fn pad(text: String, flags: Flags) -> String {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    match (missing, flags.minus, flags.zero) {
        (0, ..) => text,
        (_, true, _) => text + &" ".repeat(missing),
        (_, false, true) => {
            let signed = text.starts_with(['-', '+']);
            let (sign, digits) = text.split_at(usize::from(signed));
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        (_, false, false) => " ".repeat(missing) + &text,
    }
}

fn verb_text(verb: char, value: &Value, flags: Flags) -> String {
    match (verb, value) {
        ('T', _) => value.type_name().into(),
        ('v', Value::Text(text)) if flags.sharp => quote(text),
        ('v', Value::Empty(_)) => plain(value),
        (_, Value::List(_) | Value::Map(_)) => nested(value, &|part| match part {
            Value::List(_) | Value::Map(_) => verb_text(verb, part, flags),
            part => verb_text(verb, part, Flags { width: None, ..flags }),
        }),
        ('v' | 't', Value::Bool(flag)) => flag.to_string(),
        (_, Value::Int(number)) => integer(verb, *number, flags).unwrap_or_else(|| mismatch(verb, value)),
        (_, Value::Float(number)) => float(verb, *number, flags).unwrap_or_else(|| mismatch(verb, value)),
        (_, Value::Text(text)) => string(verb, text, flags).unwrap_or_else(|| mismatch(verb, value)),
        _ => mismatch(verb, value),
    }
}

/// Go's complaint about a verb that does not fit.
fn mismatch(verb: char, value: &Value) -> String {
    match value {
        Value::Empty(_) => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", value.type_name(), plain(value)),
    }
}

fn integer(verb: char, number: i128, flags: Flags) -> Option<String> {
    let digits = number.unsigned_abs();
    let prefix = |prefix| if flags.sharp { prefix } else { "" };
    let text = match verb {
        'd' | 'v' => digits.to_string(),
        'b' => format!("{}{digits:b}", prefix("0b")),
        'o' => format!("{}{digits:o}", prefix("0")),
        'O' => format!("0o{digits:o}"),
        'x' => format!("{}{digits:x}", prefix("0x")),
        'X' => format!("{}{digits:X}", prefix("0X")),
        'c' => return u32::try_from(number).ok().and_then(char::from_u32).map(String::from),
        'q' => return u32::try_from(number).ok().and_then(char::from_u32).map(|c| format!("'{c}'")),
        'U' => return Some(format!("U+{digits:04X}")),
        _ => return None,
    };
    let text = format!("{text:0>width$}", width = flags.precision.unwrap_or(0));
    Some(format!("{}{text}", sign(number < 0, flags)))
}

fn sign(is_negative: bool, flags: Flags) -> &'static str {
    match (is_negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn float(verb: char, number: f64, flags: Flags) -> Option<String> {
    let size = number.abs();
    let precision = flags.precision.unwrap_or(6);
    let text = match verb {
        'v' | 'g' | 'G' if flags.precision.is_none() => shortest(size),
        'v' | 'g' | 'G' => {
            let digits = format!("{size:.*e}", precision.max(1) - 1);
            let rounded: f64 = digits.parse().ok()?;
            shortest(rounded)
        }
        'f' | 'F' => format!("{size:.precision$}"),
        'e' => exponent(&format!("{size:.precision$e}"), 'e'),
        'E' => exponent(&format!("{size:.precision$e}"), 'E'),
        _ => return None,
    };
    Some(format!("{}{text}", sign(number.is_sign_negative(), flags)))
}

fn string(verb: char, text: &str, flags: Flags) -> Option<String> {
    let cut: String = match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let hex = |upper: bool| {
        let separator = if flags.space { " " } else { "" };
        let bytes = cut.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        bytes.collect::<Vec<_>>().join(separator)
    };
    match verb {
        's' | 'v' => Some(cut),
        'q' if flags.sharp && !cut.contains('`') => Some(format!("`{cut}`")),
        'q' => Some(quote(&cut)),
        'x' => Some(hex(false)),
        'X' => Some(hex(true)),
        _ => None,
    }
}

/// `%q` of a text.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\u{7}' => out += "\\a",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\u{b}' => out += "\\v",
            c if u32::from(c) < 0x20 || c == '\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{Value, sprint, sprintf, sprintln};
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn verbs_are_gos() {
        let text = Value::text;
        let list = Value::List(Arc::new(vec![text("a"), text("b")]));
        let cases = [
            (
                "%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%U",
                vec![42; 11],
                "42|   42|42   |00042|+42|2a|2A|52|101010|*|U+002A",
            ),
            ("%#x %q %O", vec![65; 3], "0x41 'A' 0o101"),
            ("%s", vec![7], "%!s(int=7)"),
            ("%d %d", vec![1], "1 %!d(MISSING)"),
            ("x", vec![1], "x%!(EXTRA int=1)"),
            ("100%%%", vec![], "100%%!(NOVERB)"),
            ("%*d", vec![4, 1], "   1"),
        ];
        for (format, numbers, want) in cases {
            let numbers: Vec<Value> = numbers.into_iter().map(Value::Int).collect();
            assert_eq!(sprintf(format, &numbers), want, "{format}");
        }
        assert_eq!(
            sprintf(
                "%s %v %q %5s|%-5s|%.1s %x",
                &[list.clone(), list.clone(), list, text("a"), text("b"), text("cd"), text("hi")]
            ),
            "[a b] [a b] [\"a\" \"b\"]     a|b    |c 6869"
        );
        assert_eq!(
            sprintf("%T %t %#v %v", &[text("a"), Value::Bool(true), text("x"), Value::Bool(false)]),
            "string true \"x\" false"
        );
        assert_eq!(
            sprintf("%5.2f|%e|%g|%v", &[2.5, 1500.0, 1e21, 0.1].map(Value::Float)),
            " 2.50|1.500000e+03|1e+21|0.1"
        );
        assert_eq!(sprintf("%d", &[text("a")]), "%!d(string=a)");
        assert_eq!(
            sprint(&[Value::Int(1), Value::Int(2), text("a"), text("b")]),
            "1 2a b".replace("a b", "ab")
        );
        assert_eq!(sprintln(&[Value::Int(1), text("b")]), "1 b\n");
    }

    proptest! {
        #[test]
        fn no_format_panics(format in "(%[-+# 0]{0,2}[0-9*]{0,6}(\\.[0-9*]{0,6})?[a-zA-Z%é]|\\PC){0,8}", number in any::<i64>(), text in "\\PC*") {
            sprintf(&format, &[Value::Int(number.into()), Value::text(text), Value::Float(0.5), Value::Int(3)]);
        }
    }
}
