//! `--format`: Go templates with Docker's functions, `table TEMPLATE`, and `json`.
//!
//! A row of a list is a map from Docker's field names to values. A document (what `inspect` prints) is the daemon's JSON;
//! a name that only Go's structures have (`.ID` for `Id`) is found too, because Docker finds both.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Arg;
use gotmpl::{MissingKey, Template, TemplateError, Value};

use crate::flags::value as value_flag;
use crate::table;

/// One line of a list, by Docker's names of its fields.
pub(crate) type Row = BTreeMap<Arc<str>, Value>;

/// What `--format` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// `table`, perhaps with columns other than the usual ones.
    Table(Option<String>),
    /// One JSON object per line.
    Json,
    Template(String),
}

/// A template that cannot be read, or that asks for what is not there.
#[derive(Debug, thiserror::Error)]
#[error("template parsing error")]
pub(crate) struct FormatError(#[from] TemplateError);

/// The flag of every list.
pub(crate) fn flag() -> Arg {
    value_flag(
        "format",
        "string",
        "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE",
    )
}

/// The flag of everything that shows documents.
pub(crate) fn document_flag() -> Arg {
    value_flag("format", "string", "Format output using a custom template: 'json', or a Go TEMPLATE")
        .short('f')
}

impl Format {
    /// Reads the value of `--format`; nothing is the usual table.
    pub(crate) fn parse(text: &str) -> Format {
        match text.trim() {
            "" | "table" => Format::Table(None),
            "json" => Format::Json,
            text => match text.strip_prefix("table") {
                Some(columns) if columns.starts_with([' ', '\t', '{', '\\']) => {
                    Format::Table(Some(columns.trim().to_owned()))
                }
                _ => Format::Template(text.to_owned()),
            },
        }
    }
}

/// What a list command prints: its usual columns, the titles of all fields, and the rows.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) columns: &'static str,
    pub(crate) titles: &'static [(&'static str, &'static str)],
    pub(crate) rows: Vec<Row>,
}

impl Listing {
    /// The text of the whole list.
    pub(crate) fn render(self, format: &Format) -> Result<String, FormatError> {
        let (source, is_table) = match format {
            Format::Table(None) => (self.columns, true),
            Format::Table(Some(columns)) => (columns.as_str(), true),
            Format::Template(source) => (source.as_str(), false),
            Format::Json => ("{{json .}}", false),
        };
        let source = prepare(source);
        let mut out = String::new();
        let template = functions(Template::new("")).parse(&source)?;
        if is_table || self.rows.is_empty() {
            let titles = self.titles.iter().map(|(name, title)| ((*name).into(), text(*title)));
            let titles = map(titles.chain([("Label".into(), label_title())]).collect());
            match title_functions(Template::new("")).parse(&source)?.execute_to_string(&titles) {
                Ok(line) if is_table => out = line + "\n",
                // Without a row nobody else would notice a field that does not exist.
                Err(error) if is_table || matches!(error, TemplateError::MissingKey { .. }) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        for row in self.rows {
            out += &template.execute_to_string(&map(row))?;
            out.push('\n');
        }
        Ok(if is_table { table::align(&out, table::LIST) } else { out })
    }
}

/// Applies a template to several lists, each by its name.
pub(crate) fn lists<const N: usize>(
    source: &str,
    lists: [(&str, Vec<Row>); N],
) -> Result<String, FormatError> {
    let template = functions(Template::new("")).parse(&prepare(source))?;
    let lists = lists.map(|(name, rows)| (name.into(), Value::List(rows.into_iter().map(map).collect())));
    Ok(template.execute_to_string(&map(lists.into()))?)
}

/// Applies a template to one JSON document.
pub(crate) fn document(source: &str, document: &serde_json::Value) -> Result<String, FormatError> {
    let template = functions(Template::new("")).parse(&prepare(source))?;
    match template.execute_to_string(&value(document, Names::Wire)) {
        Err(TemplateError::MissingKey { .. }) => {}
        result => return Ok(result?),
    }
    Ok(template.execute_to_string(&value(document, Names::Go))?)
}

/// A field that is text.
pub(crate) fn text(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

/// The `Label` of a row: `{{.Label "key"}}`.
pub(crate) fn label(labels: impl IntoIterator<Item = (String, String)>) -> Value {
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    Value::Function(Arc::new(move |given| Ok(text(labels.get(&*first(given)).cloned().unwrap_or_default()))))
}

/// In a title, a label is called by the last part of its key.
fn label_title() -> Value {
    Value::Function(Arc::new(|given| {
        let key = first(given);
        Ok(text(key.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")))
    }))
}

fn map(row: Row) -> Value {
    Value::Map(Arc::new(row))
}

/// What the keys of a document are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// As on the wire.
    Wire,
    /// As the fields of Docker's own structures.
    Go,
}

/// Fields that Docker's structures spell differently from its JSON.
const GO_NAMES: [(&str, &str); 11] = [
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuShares", "CPUShares"),
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
    ("ApiVersion", "APIVersion"),
    ("scope", "Scope"),
    ("time", "Time"),
    ("timeNano", "TimeNano"),
];

fn value(document: &serde_json::Value, names: Names) -> Value {
    use serde_json::Value as Json;
    match document {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Uint(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(string) => text(string.as_str()),
        Json::Array(items) => Value::List(items.iter().map(|item| value(item, names)).collect()),
        Json::Object(fields) => {
            map(fields.iter().map(|(name, field)| (spelled(name, names), value(field, names))).collect())
        }
    }
}

fn spelled(name: &str, names: Names) -> Arc<str> {
    let go = GO_NAMES.iter().find(|(wire, _)| names == Names::Go && *wire == name);
    go.map_or(name, |(_, go)| go).into()
}

fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(string) => Json::String(string.to_string()),
        Value::List(items) => items.iter().map(json).collect(),
        // A function is no data: the `Label` of a row is not shown.
        Value::Map(fields) => fields
            .iter()
            .filter(|(_, field)| !field.is_function())
            .map(|(name, field)| (name.to_string(), json(field)))
            .collect(),
    }
}

/// The functions that Docker adds to Go's.
fn functions(template: Template) -> Template {
    template
        .missing_key(MissingKey::Error)
        .func("json", |given| Ok(text(given.first().map(json).unwrap_or_default().to_string())))
        .func("lower", |given| Ok(text(first(given).to_lowercase())))
        .func("upper", |given| Ok(text(first(given).to_uppercase())))
        .func("title", |given| Ok(text(title(&first(given)))))
        .func("split", |given| {
            let (whole, separator) = (first(given), second(given));
            // Rust finds an empty separator at both ends too, Go only between the letters.
            Ok(Value::List(match separator.is_empty() {
                true => whole.chars().map(|c| text(c.to_string())).collect(),
                false => whole.split(&*separator).map(text).collect(),
            }))
        })
        .func("join", |given| match given.first() {
            Some(Value::List(items)) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                Ok(text(items.join(&second(given))))
            }
            Some(Value::Nil) => Ok(text("")),
            other => Err(mismatch("list", other)),
        })
        // In JSON an empty list may be null, which has no length in Go's own function.
        .func("len", |given| match given {
            [Value::Nil] => Ok(Value::Int(0)),
            [value] => {
                let length = value.len().and_then(|length| i64::try_from(length).ok());
                length.map(Value::Int).ok_or_else(|| mismatch("list", Some(value)))
            }
            _ => Err(mismatch("one argument", given.get(1))),
        })
        .func("pad", |given| {
            let [before, after] = [1, 2].map(|index| " ".repeat(count(given, index)));
            Ok(text(match first(given).as_ref() {
                "" => String::new(),
                whole => format!("{before}{whole}{after}"),
            }))
        })
        .func("truncate", |given| Ok(text(first(given).chars().take(count(given, 1)).collect::<String>())))
}

fn mismatch(expected: &'static str, got: Option<&Value>) -> TemplateError {
    TemplateError::TypeMismatch { expected, got: got.map_or("nothing", Value::type_name) }
}

/// In the line of titles every function leaves its first argument alone.
fn title_functions(template: Template) -> Template {
    let names = ["json", "lower", "upper", "title", "split", "join", "pad", "truncate"];
    names.into_iter().fold(template.missing_key(MissingKey::Error), |template, name| {
        template.func(name, |given| Ok(given.first().cloned().unwrap_or(Value::Nil)))
    })
}

fn first(given: &[Value]) -> Arc<str> {
    argument(given, 0)
}

fn second(given: &[Value]) -> Arc<str> {
    argument(given, 1)
}

fn argument(given: &[Value], index: usize) -> Arc<str> {
    match given.get(index) {
        Some(Value::String(string)) => string.clone(),
        Some(other) => other.to_string().into(),
        None => "".into(),
    }
}

/// The widest padding: what a template asks for must not fill the memory.
const MAX_COUNT: i64 = 4096;

fn count(given: &[Value], index: usize) -> usize {
    let count = given.get(index).and_then(Value::as_int).unwrap_or(0);
    usize::try_from(count.clamp(0, MAX_COUNT)).expect("clamped to what fits")
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

/// Makes a typed template one that the engine understands: `\t` and `\n` become what they stand for, and the method call
/// `.Label "key"` becomes a call of the function in the field of that name.
fn prepare(source: &str) -> String {
    let source = source.trim().replace("\\t", "\t").replace("\\n", "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{{") {
        let end = rest[start..].find("}}").map_or(rest.len(), |end| start + end);
        out += &rest[..start];
        out += &call_labels(&rest[start..end]);
        rest = &rest[end..];
    }
    out + rest
}

fn call_labels(action: &str) -> String {
    let mut out = String::with_capacity(action.len());
    let mut rest = action;
    while let Some(at) = rest.find(".Label ") {
        // The operand may begin before its point: `$.Label`, `$row.Label`.
        let is_operand = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
        let start = rest[..at].trim_end_matches(is_operand).len();
        out = out + &rest[..start] + "call " + &rest[start..at] + ".Label ";
        rest = &rest[at + ".Label ".len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::{Format, Listing, Row, document, label, text};
    use serde_json::json;

    fn list(format: &str) -> String {
        let row = |id: &str, name: &str| -> Row {
            [
                ("ID".into(), text(id)),
                ("Names".into(), text(name)),
                ("Label".into(), label([("a.b-c".to_owned(), format!("of {name}"))])),
            ]
            .into()
        };
        let listing = Listing {
            columns: "{{.ID}}\t{{.Names}}",
            titles: &[("ID", "CONTAINER ID"), ("Names", "NAMES")],
            rows: vec![row("1", "one"), row("2", "two")],
        };
        listing.render(&Format::parse(format)).unwrap_or_else(|error| format!("{error}: {}", error.0))
    }

    #[test]
    fn lists_are_tables_templates_or_json() {
        let table = "CONTAINER ID   NAMES\n1              one\n2              two\n";
        let cases = [
            ("", table),
            ("table", table),
            ("table {{.ID}}\\t{{.Names}}", table),
            ("table {{upper .Names}}", "NAMES\nONE\nTWO\n"),
            ("{{.Names}}:{{.ID}}", "one:1\ntwo:2\n"),
            ("{{.Names}}\\t{{.ID}}", "one\t1\ntwo\t2\n"),
            ("json", "{\"ID\":\"1\",\"Names\":\"one\"}\n{\"ID\":\"2\",\"Names\":\"two\"}\n"),
            ("{{.Label \"a.b-c\"}}", "of one\nof two\n"),
            ("{{if $.Label \"x\"}}y{{else}}n{{end}}", "n\nn\n"),
            ("{{upper (.Label \"a.b-c\")}}", "OF ONE\nOF TWO\n"),
            ("table {{.Label \"a.b-c\"}}", "b c\nof one\nof two\n"),
            ("tables", "tables\ntables\n"),
        ];
        for (format, expected) in cases {
            assert_eq!(list(format), expected, "{format:?}");
        }
        for format in ["{{.Nothing}}", "{{.ID", "{{nothing}}", "{{join .ID}}"] {
            assert!(list(format).starts_with("template parsing error: "), "{}", list(format));
        }
    }

    #[test]
    fn documents_answer_to_both_spellings() {
        let container = json!({
            "Id": "abc", "Path": "/bin/my app", "Args": ["a", "b"], "Missing": null,
            "State": {"Running": true, "Pid": 7, "ExitCode": 0},
            "HostConfig": {"NanoCpus": 1_500_000_000, "Memory": 9_007_199_254_740_993_i64},
            "Config": {"Labels": {"x": "<1>"}},
        });
        let cases = [
            ("{{.Id}}", "abc"),
            ("{{.ID}}", "abc"),
            ("{{.State.Running}} {{.State.Pid}}", "true 7"),
            ("{{.HostConfig.NanoCPUs}} {{.HostConfig.Memory}}", "1500000000 9007199254740993"),
            ("{{json .Config.Labels}}", "{\"x\":\"<1>\"}"),
            ("{{index .Config.Labels \"x\"}}", "<1>"),
            ("{{.Args}} {{.Config.Labels}}", "[a b] map[x:<1>]"),
            ("{{join .Args \"-\"}}", "a-b"),
            ("{{len .Args}} {{index .Args 1}}", "2 b"),
            ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $v := .Args}}{{$i}}{{$v}}{{end}}", "0a1b"),
            ("{{title .Path}} {{upper .Id}} {{lower \"ABC\"}}", "/Bin/My App ABC abc"),
            ("{{pad .Id 1 2}}|{{truncate .Path 4}}", " abc  |/bin"),
            ("{{split .Path \"/\"}}", "[ bin my app]"),
            ("{{with .State}}{{.ExitCode}}{{end}}", "0"),
            ("{{printf \"%-5s|%d\" .Id .State.Pid}}", "abc  |7"),
            ("{{println .Id}}", "abc\n"),
            ("{{if eq .State.Pid 7}}seven{{end}}", "seven"),
            ("{{range .Missing}}x{{else}}none{{end}}", "none"),
            ("{{len .Missing}}{{join .Missing \",\"}}{{json .Missing}}", "0null"),
        ];
        for (source, expected) in cases {
            assert_eq!(document(source, &container).unwrap(), expected, "{source}");
        }
        let error = document("{{.Nothing}}", &container).unwrap_err();
        assert_eq!(error.0.to_string(), "map has no entry for key: Nothing");
    }
}
