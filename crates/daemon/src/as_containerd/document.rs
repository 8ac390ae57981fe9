//! A file of containerd's configuration: parsed, brought to the newest version, checked, merged with others. Pure.
//!
//! A document holds only what was said, so that what a later file says counts also when it is `false`, 0 or empty.

use std::path::Path;

use toml::{Table, Value};

use super::keys::{self, Standing, joined};
use super::migrate::migrate;
use crate::config::place;
use crate::error::Error;

/// Tables in which a later file replaces a whole entry.
const REPLACED: [&str; 2] = ["proxy_plugins", "stream_processors"];

/// What files say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// At the newest version, without keys that containerd does not have.
    pub(super) table: Table,
    /// What the person who wrote it should know.
    pub(super) notes: Vec<String>,
}

impl Document {
    /// Nothing is said, but that there may be files in the usual place.
    pub(super) fn absent() -> Document {
        let mut table = Table::new();
        if let Some(imports) = keys::defaults().remove("imports") {
            table.insert("imports".into(), imports);
        }
        Document { table, notes: Vec::new() }
    }

    /// Parses the file `path`, which has this text.
    ///
    /// # Errors
    /// For what is no TOML, of no known version, or has a value of another type than the key's.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Document, Error> {
        let mut table: Table = toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', ", ");
            Error::Config { path: path.to_owned(), line, column, message }
        })?;
        let mut notes = Vec::new();
        let wrong = |message| Error::ContainerdConfig { path: path.to_owned(), message };
        migrate(&mut table, &mut notes).map_err(wrong)?;
        check("", &mut table, &mut notes).map_err(wrong)?;
        check_plugins(&table).map_err(wrong)?;
        let notes = notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect();
        Ok(Document { table, notes })
    }

    /// The files that it names.
    pub(super) fn imports(&self) -> Vec<String> {
        strings(&self.table, "imports")
    }

    /// What a later file says comes before what is said so far.
    pub(super) fn merge(&mut self, later: Document) {
        merge("", &mut self.table, later.table);
        self.notes.extend(later.notes);
    }

    /// With the defaults of everything that nobody said.
    pub(super) fn complete(&self) -> Table {
        let mut all = keys::defaults();
        // Files are named by who names them, or not at all.
        all.insert("imports".into(), Value::Array(Vec::new()));
        overlay("", &mut all, &self.table);
        all
    }
}

/// The strings of a list.
pub(super) fn strings(table: &Table, path: &str) -> Vec<String> {
    let list = keys::find(table, path).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Looks at each key, and takes out those that containerd does not have.
fn check(path: &str, table: &mut Table, notes: &mut Vec<String>) -> Result<(), String> {
    if keys::is_free(path) {
        // What is the same as ever needs no word.
        let defaults = keys::defaults();
        let is_default = |key: &str, value: &Value| {
            keys::find(&defaults, path)
                .and_then(|table| table.get(key))
                .map_or(is_empty(value), |one| one == value)
        };
        if !table.iter().all(|(key, value)| is_default(key, value)) {
            notes.push(format!(
                "`{}`: Corten knows this table of containerd's and does not act upon it",
                named(path)
            ));
        }
        return Ok(());
    }
    let mut unknown = Vec::new();
    for (key, value) in table.iter_mut() {
        let full = joined(path, key);
        if let Value::Table(inner) = value {
            if keys::is_table(&full) {
                check(&full, inner, notes)?;
            } else {
                // A plugin of somebody else's stays; what is in it is not known here.
                notes.push(format!("`{}`: no such table; ignored", named(&full)));
                if path != "plugins" {
                    unknown.push(key.clone());
                }
            }
            continue;
        }
        let default = match keys::standing(path, key) {
            Standing::Unknown => {
                notes.push(format!("`{}`: no such key; ignored", named(&full)));
                unknown.push(key.clone());
                continue;
            }
            Standing::ActedUpon => keys::find(&keys::defaults(), &full).cloned(),
            Standing::Known(default) => {
                if default.as_ref().is_some_and(|default| default != value) {
                    notes.push(format!(
                        "`{}`: Corten knows this key of containerd's and does not act upon it",
                        named(&full)
                    ));
                }
                default
            }
        };
        check_type(&full, value, default.as_ref())?;
    }
    for key in unknown {
        table.remove(&key);
    }
    Ok(())
}

/// What a key is that nobody has set.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Integer(number) => *number == 0,
        Value::Boolean(is_set) => !is_set,
        Value::Array(list) => list.is_empty(),
        Value::Table(table) => table.is_empty(),
        _ => false,
    }
}

fn check_type(path: &str, value: &Value, default: Option<&Value>) -> Result<(), String> {
    let Some(default) = default else { return Ok(()) };
    let is_right = match (default, value) {
        (Value::Float(_), Value::Integer(_)) => true,
        (Value::Array(_), Value::Array(list)) => list.iter().all(Value::is_str),
        (default, value) => default.same_type(value),
    };
    match is_right {
        true => Ok(()),
        false if default.is_array() => Err(format!("`{}` must be a list of strings", named(path))),
        false => Err(format!(
            "`{}` must be of type {}, and is {}",
            named(path),
            default.type_str(),
            value.type_str()
        )),
    }
}

fn check_plugins(table: &Table) -> Result<(), String> {
    for list in ["disabled_plugins", "required_plugins"] {
        if let Some(name) = strings(table, list).iter().find(|name| name.split('.').count() < 4) {
            return Err(format!(
                "`{list}`: `{name}` is not the whole name of a plugin, as `io.containerd.grpc.v1.cri` is"
            ));
        }
    }
    Ok(())
}

fn merge(path: &str, into: &mut Table, later: Table) {
    for (key, value) in later {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if !REPLACED.contains(&path) => {
                merge(&joined(path, &key), old, new);
            }
            // Lists of the whole daemon grow; those of plugins are replaced.
            (Some(Value::Array(old)), Value::Array(new)) if path.is_empty() => {
                for item in new {
                    if !old.contains(&item) {
                        old.push(item);
                    }
                }
            }
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn overlay(path: &str, base: &mut Table, said: &Table) {
    for (key, value) in said {
        let Value::Table(inner) = value else {
            base.insert(key.clone(), value.clone());
            continue;
        };
        let full = joined(path, key);
        let known = || Value::Table(keys::keys_of(&full).unwrap_or_default());
        if let Value::Table(table) = base.entry(key.clone()).or_insert_with(known) {
            overlay(&full, table, inner);
        }
    }
}

/// A path as TOML writes it.
pub(super) fn named(path: &str) -> String {
    path.split('/').map(super::print::key).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse(Path::new("f.toml"), text).unwrap()
    }

    #[test]
    fn what_is_said_and_not_done_is_told_once_and_with_its_name() {
        for (text, expected) in [
            ("version = 4\nroot = '/r'", None),
            ("version = 4\n[cgroup]\npath = ''", None),
            (
                "version = 4\n[timeouts]\n'io.containerd.timeout.x' = '1s'",
                Some("`timeouts`: Corten knows this table"),
            ),
            ("version = 4\n[timeouts]\n'io.containerd.timeout.shim.load' = '5s'", None),
            ("version = 4\n[proxy_plugins]", None),
            ("version = 4\nrooot = '/r'", Some("`rooot`: no such key; ignored")),
            ("version = 4\n[cgroup]\npath = '/x'", None),
            ("version = 4\n[plugins.'a.b.c.d']\nx = 1", Some("`plugins.'a.b.c.d'`: no such table; ignored")),
            ("version = 2\n[grpc]\nmystery = 1", Some("`grpc`: no such table; ignored")),
            ("version = 3\n[plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = true", None),
        ] {
            let notes = parse(text).notes;
            match expected {
                None => assert!(notes.is_empty(), "{text}: {notes:?}"),
                Some(words) => {
                    assert_eq!(notes.len(), 1, "{text}: {notes:?}");
                    assert!(notes[0].starts_with(&format!("f.toml: {words}")), "{notes:?}");
                }
            }
        }
    }

    #[test]
    fn the_defaults_themselves_need_no_word() {
        let text = super::super::print::text(&keys::defaults());
        let document = parse(&text);
        assert!(document.notes.is_empty(), "{:?}", document.notes);
        assert_eq!(document.complete(), keys::defaults(), "what is printed is what is read");
    }

    #[test]
    fn a_mistake_is_told_with_its_file_and_place() {
        for (text, expected) in [
            ("root = ", "f.toml:1:"),
            ("root = 3", "f.toml: `root` must be of type string, and is integer"),
            ("version = 9", "f.toml: version 9 is not known"),
            (
                "version = 2\ndisabled_plugins = ['cri']",
                "f.toml: `disabled_plugins`: `cri` is not the whole name",
            ),
            ("disabled_plugins = 'cri'", "f.toml: `disabled_plugins` must be a list of strings"),
            (
                "version = 2\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 'x'",
                "f.toml: `plugins.'io.containerd.gc.v1.scheduler'.pause_threshold` must be of type float",
            ),
        ] {
            let message = Document::parse(Path::new("f.toml"), text).unwrap_err().chain();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_later_file_counts_whatever_it_says() {
        let mut document = parse(
            "version = 2
            oom_score = -5
            disabled_plugins = ['io.containerd.a.v1.a']
            [plugins.'io.containerd.cri.v1.runtime']
            cdi_spec_dirs = ['/x']
            enable_cdi = true
            [proxy_plugins.one]
            type = 'snapshot'
            address = '/one'",
        );
        document.merge(parse(
            "version = 3
            oom_score = 0
            disabled_plugins = ['io.containerd.a.v1.a', 'io.containerd.a.v1.b']
            [plugins.'io.containerd.cri.v1.runtime']
            cdi_spec_dirs = ['/y']
            enable_cdi = false
            [proxy_plugins.one]
            address = '/two'",
        ));
        let table = document.complete();
        assert_eq!(table["oom_score"].as_integer(), Some(0));
        assert_eq!(strings(&table, "disabled_plugins"), ["io.containerd.a.v1.a", "io.containerd.a.v1.b"]);
        let runtime = &table["plugins"]["io.containerd.cri.v1.runtime"];
        assert_eq!(runtime["enable_cdi"].as_bool(), Some(false));
        assert_eq!(runtime["cdi_spec_dirs"].as_array().map(Vec::len), Some(1));
        assert!(table["proxy_plugins"]["one"].get("type").is_none());
    }

    #[test]
    fn a_runtime_that_is_named_has_all_keys() {
        let table = parse(
            "version = 3
            [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]
            runtime_type = 'io.containerd.kata.v2'",
        )
        .complete();
        let runtimes = &table["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"];
        assert_eq!(runtimes["kata"]["runtime_type"].as_str(), Some("io.containerd.kata.v2"));
        assert_eq!(runtimes["kata"]["io_type"].as_str(), Some(""));
        assert_eq!(runtimes["runc"]["options"]["SystemdCgroup"].as_bool(), Some(false));
    }
}
