//! Configurations of networks: lists of plugins (`.conflist`), and lone plugins of old (`.conf`, `.json`), which are lists of one.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{CniError, file};

/// A configuration is some hundred bytes; what is longer than this is none.
const LENGTH_MAX: u64 = 1 << 20;
/// The newest version of the specification that is spoken.
const NEWEST: (u32, u32, u32) = (1, 1, 0);
/// Since this version a plugin is told at the end what was said at the beginning.
const TELLS_RESULTS: (u32, u32, u32) = (0, 4, 0);

/// A network.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(super) name: String,
    /// As the file has it; empty when it says nothing.
    pub(super) version: String,
    /// Each has a `type` that is the name of a file.
    pub(super) plugins: Vec<Map<String, Value>>,
    /// The list that all of this was read from, with the plugins that are in files of their own.
    pub(super) text: Vec<u8>,
}

impl Configuration {
    /// The first configuration of a folder, by name.
    pub(super) fn first(folder: &Path) -> Result<Configuration, CniError> {
        let path = files(folder, &["conf", "conflist", "json"])?.into_iter().next().ok_or(CniError::None)?;
        let wrong = |reason| CniError::Configuration { path: path.clone(), reason };
        let text = read(&path)?;
        if path.extension().is_none_or(|extension| extension != "conflist") {
            return Configuration::list(&as_list(&text).map_err(wrong)?).map_err(wrong);
        }
        let mut configuration = Configuration::parse(&text).map_err(wrong)?;
        let mut list = object(&text).map_err(wrong)?;
        if !is_set(&list, "loadOnlyInlinedPlugins") {
            for path in files(&folder.join(&configuration.name), &["conf"])? {
                let one = object(&read(&path)?).and_then(plugin);
                let one = one.map_err(|reason| CniError::Configuration { path: path.clone(), reason })?;
                configuration.plugins.push(one);
            }
            list.insert("plugins".into(), json!(configuration.plugins));
            configuration.text = Value::Object(list).to_string().into_bytes();
        }
        configuration.whole().map_err(wrong)
    }

    /// A list that is all of a network.
    pub(super) fn list(text: &[u8]) -> Result<Configuration, String> {
        Configuration::parse(text)?.whole()
    }

    fn whole(self) -> Result<Configuration, String> {
        if self.plugins.is_empty() { Err("no plugin configs found".into()) } else { Ok(self) }
    }

    fn parse(text: &[u8]) -> Result<Configuration, String> {
        let list = object(text)?;
        let name = list.get("name").and_then(Value::as_str).unwrap_or_default();
        // The name becomes a part of a file's.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if !name.bytes().all(is_plain) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(format!("the network's name {name:?} is none"));
        }
        let plugins = match list.get("plugins") {
            None => Vec::new(),
            Some(Value::Array(plugins)) => plugins.clone(),
            Some(_) => return Err("`plugins` is not a list".into()),
        };
        let plugins = plugins.into_iter().map(|one| match one {
            Value::Object(one) => plugin(one),
            _ => Err("a plugin is not an object".to_owned()),
        });
        Ok(Configuration {
            name: name.to_owned(),
            version: version(&list),
            plugins: plugins.collect::<Result<_, _>>()?,
            text: text.to_vec(),
        })
    }

    /// Whether plugins are told at the end what was said at the beginning.
    pub(super) fn tells_results(&self) -> bool {
        number(&self.version).is_some_and(|version| version >= TELLS_RESULTS)
    }

    /// What a plugin is given.
    pub(super) fn request(&self, plugin: &Map<String, Value>, result: Option<&Value>) -> Vec<u8> {
        let mut request = plugin.clone();
        request.insert("name".into(), self.name.clone().into());
        request.insert("cniVersion".into(), self.version.clone().into());
        if let Some(result) = result {
            request.insert("prevResult".into(), result.clone());
        }
        Value::Object(request).to_string().into_bytes()
    }
}

/// A plugin as errors name it.
pub(super) fn described(plugin: &Map<String, Value>) -> String {
    let text = |name: &str| plugin.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("name") {
        "" => format!("type={:?}", text("type")),
        name => format!("type={:?} name={name:?}", text("type")),
    }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(text).map_err(|error| format!("error parsing configuration: {error}"))
}

fn plugin(plugin: Map<String, Value>) -> Result<Map<String, Value>, String> {
    match plugin.get("type").and_then(Value::as_str) {
        None | Some("") => Err("error parsing configuration: missing 'type'".into()),
        Some(kind) if kind.contains('/') || kind.starts_with('.') => {
            Err(format!("invalid plugin name: {kind}"))
        }
        Some(_) => Ok(plugin),
    }
}

/// A lone plugin as a list.
fn as_list(text: &[u8]) -> Result<Vec<u8>, String> {
    let one = plugin(object(text)?)?;
    let list = json!({"name": one.get("name"), "cniVersion": one.get("cniVersion"), "plugins": [one]});
    Ok(list.to_string().into_bytes())
}

/// The newest version of those that a list has and that is spoken here; its only one, whatever it is.
fn version(list: &Map<String, Value>) -> String {
    let only = list.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    let several = list.get("cniVersions").and_then(Value::as_array).into_iter().flatten();
    let several = several.filter_map(Value::as_str).chain([only]);
    let spoken = several.filter(|text| number(text).is_some_and(|version| version <= NEWEST));
    spoken.max_by_key(|text| number(text)).unwrap_or(only).to_owned()
}

fn number(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.splitn(3, '.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?))
}

/// A switch, which some write as text.
fn is_set(list: &Map<String, Value>, name: &str) -> bool {
    let value = list.get(name).unwrap_or(&Value::Null);
    value == true || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The files of a folder with one of the endings, by name.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, CniError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("read", folder)(error)),
    };
    let paths: Result<Vec<PathBuf>, io::Error> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(file("read", folder))?;
    paths.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        endings.contains(&ending) && !path.is_dir()
    });
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, CniError> {
    let mut text = Vec::new();
    let opened = fs::File::open(path).map_err(file("open", path))?;
    opened.take(LENGTH_MAX + 1).read_to_end(&mut text).map_err(file("read", path))?;
    match text.len() as u64 > LENGTH_MAX {
        true => Err(CniError::Configuration {
            path: path.to_owned(),
            reason: format!("it is longer than {LENGTH_MAX} bytes"),
        }),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{Configuration, as_list};
    use serde_json::{Value, json};

    #[test]
    fn the_newest_version_that_is_spoken_counts() {
        for (keys, version) in [
            (r#""cniVersion":"0.3.1""#, "0.3.1"),
            (r#""cniVersion":"9.0.0""#, "9.0.0"),
            (r#""cniVersion":"0.4.0","cniVersions":["1.0.0","1.1.0","1.2.0"]"#, "1.1.0"),
            (r#""cniVersions":["0.3.0","0.10.0"]"#, "0.10.0"),
            (r#""disableCheck":true"#, ""),
        ] {
            let text = format!(r#"{{"name":"net",{keys},"plugins":[{{"type":"a"}}]}}"#);
            assert_eq!(Configuration::list(text.as_bytes()).unwrap().version, version, "{keys}");
        }
    }

    #[test]
    fn a_plugin_is_given_its_part_with_the_lists_name_and_version() {
        let text = br#"{"cniVersion":"1.0.0","name":"net","type":"a","key":[1]}"#;
        let configuration = Configuration::list(&as_list(text).unwrap()).unwrap();
        let request = configuration.request(&configuration.plugins[0], Some(&json!({"ips": []})));
        assert_eq!(
            serde_json::from_slice::<Value>(&request).unwrap(),
            json!({"cniVersion": "1.0.0", "name": "net", "type": "a", "key": [1], "prevResult": {"ips": []}})
        );
    }

    #[test]
    fn what_is_no_network_is_told() {
        for (text, reason) in [
            ("", "error parsing configuration"),
            ("[]", "error parsing configuration"),
            (r#"{"plugins":[{"type":"a"}]}"#, "name \"\" is none"),
            (r#"{"name":"../x","plugins":[{"type":"a"}]}"#, "name \"../x\" is none"),
            (r#"{"name":"net"}"#, "no plugin"),
            (r#"{"name":"net","plugins":[]}"#, "no plugin"),
            (r#"{"name":"net","plugins":{}}"#, "not a list"),
            (r#"{"name":"net","plugins":[1]}"#, "not an object"),
            (r#"{"name":"net","plugins":[{}]}"#, "missing 'type'"),
            (r#"{"name":"net","plugins":[{"type":"../../bin/sh"}]}"#, "invalid plugin name"),
            (r#"{"name":"net","plugins":[{"type":".."}]}"#, "invalid plugin name"),
        ] {
            let told = Configuration::list(text.as_bytes()).unwrap_err();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
