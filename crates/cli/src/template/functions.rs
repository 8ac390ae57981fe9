//! The functions of templates: Go's own, and those that Docker adds.

use std::cmp::Ordering;
use std::fmt::Write;

use super::print::{plain, sprint, sprintf, sprintln};
use super::value::{Empty, Kind, Value};

/// The widest padding: what a template asks for must not fill the memory.
const MAX_PADDING: i128 = 4096;

/// A function of templates.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    most: usize,
    pub(super) body: Body,
}

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Call(fn(&[Value]) -> Result<Value, String>),
    /// They look at an argument only when those before did not decide.
    And,
    Or,
    /// Docker's: in a line of titles it leaves its first argument alone.
    Format(fn(&[Value]) -> Result<Value, String>),
}

const ANY: usize = usize::MAX;

const fn function(name: &'static str, least: usize, most: usize, body: Body) -> Function {
    Function { name, least, most, body }
}

static FUNCTIONS: [Function; 28] = [
    function("and", 1, ANY, Body::And),
    function("call", 1, ANY, Body::Call(|_| Err(String::new()))),
    function("eq", 1, ANY, Body::Call(equal)),
    function("ge", 2, 2, Body::Call(|given| order(given, Ordering::is_ge))),
    function("gt", 2, 2, Body::Call(|given| order(given, Ordering::is_gt))),
    function("html", 0, ANY, Body::Call(|given| Ok(Value::text(html(&sprint(given)))))),
    function("index", 1, ANY, Body::Call(index)),
    function("join", 2, 2, Body::Format(join)),
    function("js", 0, ANY, Body::Call(|given| Ok(Value::text(js(&sprint(given)))))),
    function("json", 1, 1, Body::Format(|given| Ok(Value::text(super::json::text(&given[0]))))),
    function("le", 2, 2, Body::Call(|given| order(given, Ordering::is_le))),
    function("len", 1, 1, Body::Call(length)),
    function("lower", 1, 1, Body::Format(|given| Ok(Value::text(text(&given[0])?.to_lowercase())))),
    function("lt", 2, 2, Body::Call(|given| order(given, Ordering::is_lt))),
    function("ne", 2, 2, Body::Call(|given| same(&given[0], &given[1]).map(|same| Value::Bool(!same)))),
    function("not", 1, 1, Body::Call(|given| Ok(Value::Bool(!given[0].is_true())))),
    function("or", 1, ANY, Body::Or),
    function("pad", 3, 3, Body::Format(pad)),
    function("print", 0, ANY, Body::Call(|given| Ok(Value::text(sprint(given))))),
    function("printf", 1, ANY, Body::Call(|given| Ok(Value::text(sprintf(text(&given[0])?, &given[1..]))))),
    function("println", 0, ANY, Body::Call(|given| Ok(Value::text(sprintln(given))))),
    function("slice", 1, 4, Body::Call(slice)),
    function("split", 2, 2, Body::Format(split)),
    function("table", 1, 1, Body::Format(|given| Ok(given[0].clone()))),
    function("title", 1, 1, Body::Format(|given| Ok(Value::text(title(text(&given[0])?))))),
    function("truncate", 2, 2, Body::Format(truncate)),
    function("upper", 1, 1, Body::Format(|given| Ok(Value::text(text(&given[0])?.to_uppercase())))),
    function("urlquery", 0, ANY, Body::Call(|given| Ok(Value::text(url_query(&sprint(given)))))),
];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Function {
    /// Go's complaint about the number of arguments.
    pub(super) fn wrong_count(&self, count: usize) -> Option<String> {
        let Function { name, least, most, .. } = self;
        if (*least..=*most).contains(&count) {
            return None;
        }
        Some(match least == most {
            true => format!("wrong number of args for {name}: want {least} got {count}"),
            false => format!("wrong number of args for {name}: want at least {least} got {count}"),
        })
    }

    /// The argument that has the wrong type, with the complaint.
    pub(super) fn wrong_type(&self, given: &[Value]) -> Option<(usize, String)> {
        let kinds: &[&str] = match self.name {
            "join" => &["", "string"],
            "lower" | "printf" | "title" | "upper" => &["string"],
            "pad" => &["string", "int", "int"],
            "split" => &["string", "string"],
            "truncate" => &["string", "int"],
            _ => &[],
        };
        let mut wrong = kinds.iter().zip(given).enumerate().filter(|(_, (kind, value))| match **kind {
            "string" => !matches!(value, Value::Text(_)),
            "int" => !matches!(value, Value::Int(_)),
            _ => false,
        });
        wrong.next().map(|(index, (kind, value))| {
            let complaint = match value {
                Value::Empty(_) => format!("invalid value; expected {kind}"),
                value => format!("wrong type for value; expected {kind}; got {}", value.type_name()),
            };
            (index, complaint)
        })
    }
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

fn number(value: &Value) -> i128 {
    if let Value::Int(number) = value { *number } else { 0 }
}

fn equal(given: &[Value]) -> Result<Value, String> {
    let (first, others) = given.split_first().ok_or("missing argument for comparison")?;
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if same(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn same(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (Value::Empty(_), Value::Empty(_)) => Ok(true),
        (Value::Empty(_), _) | (_, Value::Empty(_)) => Ok(false),
        (Value::List(_) | Value::Map(_) | Value::Labels(_), _) => {
            Err(format!("non-comparable type {}: {}", plain(one), one.type_name()))
        }
        (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::Float(_), Value::Float(_))
        | (Value::Text(_), Value::Text(_)) => Ok(one == other),
        _ => Err("incompatible types for comparison".into()),
    }
}

fn order(given: &[Value], is_right: fn(Ordering) -> bool) -> Result<Value, String> {
    let ordering = match (&given[0], &given[1]) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (
            Value::Int(_) | Value::Text(_) | Value::Float(_),
            Value::Int(_) | Value::Text(_) | Value::Float(_),
        ) => {
            return Err("incompatible types for comparison".into());
        }
        _ => return Err("invalid type for comparison".into()),
    };
    Ok(Value::Bool(ordering.is_some_and(is_right)))
}

fn index(given: &[Value]) -> Result<Value, String> {
    let mut item = given[0].clone();
    for key in &given[1..] {
        item = match (&item, key) {
            (Value::List(items), Value::Int(at)) => match usize::try_from(*at) {
                Ok(at) if at < items.len() => items[at].clone(),
                Ok(at) if at == items.len() => return Err("reflect: slice index out of range".into()),
                _ => return Err(format!("index out of range: {at}")),
            },
            (Value::Text(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int((*byte.ok_or_else(|| format!("index out of range: {at}"))?).into())
            }
            (Value::Map(map), Value::Text(key)) if map.kind != Kind::Row => {
                map.get(key).cloned().unwrap_or_else(|| map.missing())
            }
            (Value::Empty(Empty::Map), Value::Text(_)) => Value::text(""),
            (Value::Empty(Empty::List), Value::Int(at)) => return Err(format!("index out of range: {at}")),
            (Value::List(_) | Value::Text(_) | Value::Empty(Empty::List), key) => {
                return Err(format!("cannot index slice/array with type {}", key.type_name()));
            }
            (Value::Map(_) | Value::Empty(Empty::Map), key) => {
                return Err(format!("value has type {}; should be string", key.type_name()));
            }
            (Value::Empty(_), _) => return Err("index of nil pointer".into()),
            (item, _) => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

fn length(given: &[Value]) -> Result<Value, String> {
    let length = match &given[0] {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) if map.kind != Kind::Row => map.fields.len(),
        // In JSON an empty list may be null, which has no length in Go's own function.
        Value::Empty(Empty::List | Empty::Map | Empty::Pointer) => 0,
        Value::Empty(Empty::Nothing) => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i128::try_from(length).unwrap_or(i128::MAX)))
}

fn slice(given: &[Value]) -> Result<Value, String> {
    let length = match &given[0] {
        Value::Text(_) if given.len() == 4 => return Err("cannot 3-index slice a string".into()),
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Empty(Empty::List) => 0,
        Value::Empty(_) => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut ends = [0, length];
    for (end, given) in ends.iter_mut().zip(&given[1..]) {
        let Value::Int(number) = given else {
            return Err(format!("cannot index slice/array with type {}", given.type_name()));
        };
        let at = usize::try_from(*number).ok().filter(|at| *at <= length);
        *end = at.ok_or_else(|| format!("index out of range: {number}"))?;
    }
    let [start, end] = ends;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    Ok(match &given[0] {
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()),
        Value::List(items) => Value::List(items[start..end].to_vec().into()),
        other => other.clone(),
    })
}

fn split(given: &[Value]) -> Result<Value, String> {
    let (whole, separator) = (text(&given[0])?, text(&given[1])?);
    let parts: Vec<Value> = match separator.is_empty() {
        true => whole.chars().map(|c| Value::text(c.to_string())).collect(),
        false => whole.split(separator).map(Value::text).collect(),
    };
    Ok(Value::List(parts.into()))
}

fn join(given: &[Value]) -> Result<Value, String> {
    match &given[0] {
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            Ok(Value::text(items.join(text(&given[1])?)))
        }
        Value::Empty(Empty::List | Empty::Pointer) => Ok(Value::text("")),
        other => Err(format!("wrong type for value; expected []string; got {}", other.type_name())),
    }
}

fn pad(given: &[Value]) -> Result<Value, String> {
    let whole = text(&given[0])?;
    let [before, after] = [&given[1], &given[2]].map(|count| {
        " ".repeat(usize::try_from(number(count).clamp(0, MAX_PADDING)).expect("clamped to what fits"))
    });
    Ok(Value::text(if whole.is_empty() { String::new() } else { format!("{before}{whole}{after}") }))
}

fn truncate(given: &[Value]) -> Result<Value, String> {
    let count = usize::try_from(number(&given[1])).unwrap_or(0);
    Ok(Value::text(text(&given[0])?.chars().take(count).collect::<String>()))
}

/// Upper case for the first letter of each word, as Go's `strings.Title`.
fn title(words: &str) -> String {
    let mut is_start = true;
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match is_start {
            true => out.extend(c.to_uppercase()),
            false => out.push(c),
        }
        is_start = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&#34;",
            '\'' => out += "&#39;",
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
