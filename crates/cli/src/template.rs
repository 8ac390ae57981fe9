//! `--format`: Go templates with Docker's functions, `table TEMPLATE`, `json`, and `raw` where a list has it.
//!
//! A template goes through [`lex`], [`parse`] and [`run`]; what it works on is a [`Value`]. A row of a list is a map from Docker's
//! field names to values. A document (what `inspect` prints) is the daemon's JSON; a name that only Go's structures have (`.ID`
//! for `Id`) is found too, because Docker finds both. Mistakes are told in Go's words, with the place:
//! `template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"`.

mod constant;
mod functions;
mod json;
mod lex;
mod parse;
mod print;
mod run;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Arg;

use crate::flags::value as value_flag;
use crate::table::{self, Spacing};
use run::Mode;
use value::{Empty, Labels};
pub(crate) use value::{Json, Value};

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

/// What is wrong with a template, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TemplateError {
    message: String,
    /// It was found without looking at any data.
    is_syntax: bool,
    hint: Option<String>,
}

/// A template that cannot be read, or that asks for what is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// Of an `inspect`.
    #[error("template parsing error")]
    Document(#[source] TemplateError),
    /// Of a list.
    #[error("failed to {} template", if .0.is_syntax { "parse" } else { "execute" })]
    List(#[source] TemplateError),
}

impl FormatError {
    /// Docker's exit code: a document's template is an argument, which is looked at first.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, FormatError::Document(error) if error.is_syntax) { 64 } else { 1 }
    }

    /// What can be asked for instead.
    pub(crate) fn hint(&self) -> Option<&str> {
        let (FormatError::Document(error) | FormatError::List(error)) = self;
        error.hint.as_deref()
    }
}

impl TemplateError {
    /// A mistake at a byte of the source.
    fn parsing(source: &str, at: usize, message: String) -> TemplateError {
        let line = 1 + source[..at].matches('\n').count();
        TemplateError { message: format!("template: :{line}: {message}"), is_syntax: true, hint: None }
    }

    /// What did not work, where, and of what it was a part.
    fn running(source: &str, at: usize, context: &str, message: &str) -> TemplateError {
        let line = 1 + source[..at].matches('\n').count();
        let column = at - source[..at].rfind('\n').map_or(0, |end| end + 1);
        let message = format!("template: :{line}:{column}: executing \"\" at <{context}>: {message}");
        TemplateError { message, is_syntax: false, hint: None }
    }

    fn hinting(self, hint: String) -> TemplateError {
        TemplateError { hint: Some(hint), ..self }
    }
}

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
        self.render_spaced(format, table::LIST)
    }

    /// The same, with columns that are spaced otherwise.
    pub(crate) fn render_spaced(self, format: &Format, spacing: Spacing) -> Result<String, FormatError> {
        let (source, is_table) = match format {
            Format::Table(None) => (self.columns, true),
            Format::Table(Some(columns)) => (columns.as_str(), true),
            Format::Template(source) => (source.as_str(), false),
            Format::Json => ("{{json .}}", false),
        };
        // What a shell does not make of them in quotes.
        let source = source.trim().replace("\\t", "\t").replace("\\n", "\n");
        let tree = parse::parse(&source).map_err(FormatError::List)?;
        let mut out = String::new();
        if is_table || self.rows.is_empty() {
            let titles = self.titles.iter().map(|(name, title)| (Arc::from(*name), text(*title)));
            let label = ("Label".into(), Value::Labels(Arc::new(Labels::Titles)));
            match run::run(&tree, &run::row(titles.chain([label])), Mode::Titles) {
                Ok(line) if is_table => out = line + "\n",
                // Without a row nobody else would notice a field that does not exist.
                Err(error) if is_table || error.hint.is_some() => return Err(FormatError::List(error)),
                _ => {}
            }
        }
        for row in self.rows {
            out += &run::run(&tree, &run::row(row), Mode::Values).map_err(FormatError::List)?;
            out.push('\n');
        }
        Ok(if is_table { table::align(&out, spacing) } else { out })
    }
}

/// A template for documents, read once for all of them.
#[derive(Debug)]
pub(crate) struct Template(parse::Tree);

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Template, FormatError> {
        parse::parse(source).map(Template).map_err(FormatError::Document)
    }

    /// The text for one document.
    pub(crate) fn apply(&self, document: Json) -> Result<String, FormatError> {
        run::run(&self.0, &Value::document(document), Mode::Values).map_err(FormatError::Document)
    }
}

/// Applies a template to one JSON document.
pub(crate) fn document(source: &str, document: Json) -> Result<String, FormatError> {
    Template::parse(source)?.apply(document)
}

/// Applies a template to several lists, each by its name.
pub(crate) fn lists<const N: usize>(
    source: &str,
    lists: [(&str, Vec<Row>); N],
) -> Result<String, FormatError> {
    let tree = parse::parse(source).map_err(FormatError::List)?;
    let list = |rows: Vec<Row>| Value::List(Arc::new(rows.into_iter().map(run::row).collect()));
    let lists = lists.map(|(name, rows)| (name.into(), list(rows)));
    run::run(&tree, &run::row(lists), Mode::Values).map_err(FormatError::List)
}

/// A field that is text.
pub(crate) fn text(text: impl Into<Arc<str>>) -> Value {
    Value::text(text)
}

/// A field that a row has and that holds nothing.
pub(crate) fn nothing() -> Value {
    Value::Empty(Empty::Pointer)
}

/// The `Label` of a row: `{{.Label "key"}}`.
pub(crate) fn label(labels: impl IntoIterator<Item = (String, String)>) -> Value {
    Value::Labels(Arc::new(Labels::Of(labels.into_iter().collect())))
}

#[cfg(test)]
mod tests {
    use super::{Format, Json, Listing, Row, document, label, text};
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
        listing
            .render(&Format::parse(format))
            .unwrap_or_else(|error| format!("{error}: {}", std::error::Error::source(&error).unwrap()))
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
        let mistakes = [
            (
                "{{.Nothing}}",
                "execute template: template: :1:2: executing \"\" at <.Nothing>: can't evaluate field Nothing in a row",
            ),
            ("{{.ID", "parse template: template: :1: unclosed action"),
            ("{{nothing}}", "parse template: template: :1: function \"nothing\" not defined"),
            (
                "{{join .ID}}",
                "execute template: template: :1:2: executing \"\" at <join>: wrong number of args for join: want 2 got 1",
            ),
            (
                "{{upper .Label}}",
                "execute template: template: :1:8: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0",
            ),
        ];
        for (format, mistake) in mistakes {
            assert_eq!(list(format), format!("failed to {mistake}"));
        }
    }

    /// What a template makes of a document, or says.
    fn shown(source: &str, json: &serde_json::Value) -> String {
        let json: Json = serde_json::from_str(&json.to_string()).unwrap();
        document(source, json).unwrap_or_else(|error| std::error::Error::source(&error).unwrap().to_string())
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
            assert_eq!(shown(source, &container), expected, "{source}");
        }
    }

    #[test]
    fn the_language_is_gos() {
        let data = json!({"A": ["x", "y", "z"], "N": 3, "Labels": {"b": "2", "a": "1"}, "S": "text", "E": [], "F": 1.5});
        let cases = [
            ("{{if .N}}a{{else}}b{{end}}{{if .E}}a{{else if .N}}c{{else}}d{{end}}", "ac"),
            ("{{with .E}}a{{else with .S}}{{.}}{{end}}{{.N}}", "text3"),
            ("{{range .A}}{{if eq . \"y\"}}{{continue}}{{end}}{{.}}{{end}}", "xz"),
            ("{{range .A}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}", "x"),
            (
                "{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}{{range .E}}{{else}}none{{end}}{{range 3}}{{.}}{{end}}",
                "a=1;b=2;none012",
            ),
            ("{{$x := 1}}{{range .A}}{{$x = .}}{{end}}{{$x}}{{$y := $x}}{{$y}}", "zz"),
            (
                "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .S}}{{block \"b\" .N}}[{{.}}{{$}}]{{end}}",
                "<text>[33]",
            ),
            ("a {{- /* c */ -}} b {{- \"c\" -}} d\n{{/* x */}}", "abcd\n"),
            ("{{(index .A 1)}}{{(len .A) | printf \"%03d\"}}{{\"a\" | printf \"%s-%s\" \"b\"}}", "y003b-a"),
            ("{{and 1 0}}{{or 0 \"x\"}}{{not .E}}{{and .N .S}}", "0xtruetext"),
            (
                "{{eq 1 2 1}}{{ne 1 2}}{{lt 1 2}}{{le 2 2}}{{gt .F 1.0}}{{ge \"b\" \"a\"}}",
                "truetruetruetruetruetrue",
            ),
            (
                "{{html \"<a&'>\"}} {{js \"a'b<\"}} {{urlquery \"a b&\"}}",
                "&lt;a&amp;&#39;&gt; a\\'b\\u003C a+b%26",
            ),
            (
                "{{slice .S 1 3}}{{slice .A 1}}{{len .Labels}}{{index .Labels \"a\"}}{{index .Labels \"none\"}}",
                "ex[y z]21",
            ),
            ("{{print 1 2 \"a\" 3}}{{println .S}}", "1 2a3text\n"),
            ("{{1.5}} {{'a'}} {{0x10}} {{`r\\aw`}} {{true}} {{\"}}\"}}", "1.5 97 16 r\\aw true }}"),
            ("{{.A}} {{.Labels}}", "[x y z] map[a:1 b:2]"),
            (
                "{{$.S}}{{$.Labels.a}}{{json .A}}{{json .Labels}}{{json \"<\"}}",
                "text1[\"x\",\"y\",\"z\"]{\"a\":\"1\",\"b\":\"2\"}\"<\"",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(shown(source, &data), expected, "{source}");
        }
    }

    #[test]
    fn mistakes_are_told_in_gos_words_with_their_place() {
        let data =
            json!({"Id": "abc", "Args": ["a"], "Env": [], "Labels": {}, "State": {"Health": null, "Pid": 1}});
        let running = [
            ("{{.Nope}}", "1:2", ".Nope", "map has no entry for key \"Nope\""),
            ("{{.State.Nope}}", "1:8", ".State.Nope", "map has no entry for key \"Nope\""),
            ("x\n {{.Nope}}", "2:3", ".Nope", "map has no entry for key \"Nope\""),
            ("{{.Id.Foo}}", "1:5", ".Id.Foo", "can't evaluate field Foo in type interface {}"),
            (
                "{{.State.Health.Status}}",
                "1:8",
                ".State.Health.Status",
                "nil pointer evaluating interface {}.Status",
            ),
            ("{{index .Args 9}}", "1:2", "index .Args 9", "error calling index: index out of range: 9"),
            (
                "{{(index .Env 0)}}",
                "1:3",
                "index .Env 0",
                "error calling index: reflect: slice index out of range",
            ),
            ("{{template \"u\"}}", "1:11", "{{template \"u\"}}", "template \"u\" not defined"),
            ("{{nil}}", "1:2", "nil", "nil is not a command"),
            ("{{call .Id}}", "1:2", "call .Id", "error calling call: non-function .Id of type string"),
            ("{{.Id 1}}", "1:2", ".Id", "Id is not a method but has arguments"),
            ("{{len 3}}", "1:2", "len 3", "error calling len: len of type int"),
            ("{{range .Id}}x{{end}}", "1:8", ".Id", "range can't iterate over abc"),
            ("{{upper .State.Pid}}", "1:14", ".State.Pid", "wrong type for value; expected string; got int"),
            ("{{lt 1 \"a\"}}", "1:2", "lt 1 \"a\"", "error calling lt: incompatible types for comparison"),
            (
                "{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}",
                "1:25",
                "{{template \"r\"}}",
                "exceeded maximum template depth (200)",
            ),
        ];
        for (source, place, context, message) in running {
            let expected = format!("template: :{place}: executing \"\" at <{context}>: {message}");
            assert_eq!(shown(source, &data), expected, "{source}");
        }
        let parsing = [
            ("{{.Id", "unclosed action"),
            ("{{nope .Id}}", "function \"nope\" not defined"),
            ("{{if}}", "missing value for if"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{else}}", "unexpected {{else}}"),
            ("{{range .Args}}", "unexpected EOF"),
            ("{{}}", "missing value for command"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{break}}", "{{break}} outside {{range}}"),
            ("{{1 | 2}}", "non executable command in pipeline stage 2"),
            ("{{\"a}}", "unterminated quoted string"),
            ("{{/* a }}", "unclosed comment"),
            ("{{(1}}", "unclosed left paren"),
            ("{{1)}}", "unexpected right paren"),
            ("{{.Id | }}", "missing value for command"),
            ("{{1.a}}", "bad number syntax: \"1.a\""),
        ];
        for (source, message) in parsing {
            assert_eq!(shown(source, &data), format!("template: :1: {message}"), "{source}");
        }
    }

    #[test]
    fn what_docker_leaves_out_of_its_json_can_be_asked_for() {
        let data = json!({"State": {"Pid": 1}, "Config": {"Labels": null, "Cmd": null}, "HostConfig": {"Binds": null}});
        let cases = [
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            (
                "{{.Config.Healthcheck}} {{.Config.ExposedPorts}} {{.Config.Labels}} {{.HostConfig.Binds}} {{.Config.Cmd}}",
                "<nil> map[] map[] [] []",
            ),
            ("{{json .State}}{{json .Config.Labels}}", "{\"Pid\":1}null"),
            ("{{.HostConfig.NanoCpus}}{{len .Config.Labels}}{{index .Config.Labels \"x\"}}", "00"),
            ("{{.State}}", "{1 <nil>}"),
        ];
        for (source, expected) in cases {
            assert_eq!(shown(source, &data), expected, "{source}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_template_panics(parts in proptest::collection::vec("(\\{\\{-? ?(if|else|end|range|with|define \"a\"|template \"a\"|block \"a\"|break)? ?(\\.|\\$|\\.A|\\$x :=|\\(|\\)|\\||len|index|\"q\"|'c'|1|,|=){0,4} ?-?\\}\\}|\\PC)", 0..8)) {
            shown(&parts.concat(), &json!({"A": ["x", 1, null, {"B": {}}]}));
        }
    }
}
