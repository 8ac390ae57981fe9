//! What a user's `config.json` says beside logins: formats, keys, headers, proxies.
//!
//! As with Docker's client, a file that cannot be read is complained about once and then counts as empty: it must not keep
//! anybody from stopping a container.

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::catalog::Entry;
use crate::flags::Given;
use crate::output;
use crate::registry::config::Config;

/// The user's wishes.
#[derive(Debug)]
pub(crate) struct Settings(Option<Config>);

/// The variables of a proxy, by their keys in the file.
const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// The formats of lists, by their commands.
const FORMATS: [(&str, &str, &str); 5] = [
    ("container", "ls", "psFormat"),
    ("container", "stats", "statsFormat"),
    ("image", "ls", "imagesFormat"),
    ("network", "ls", "networksFormat"),
    ("volume", "ls", "volumesFormat"),
];

impl Settings {
    pub(crate) fn load() -> Settings {
        match Config::load() {
            Ok(config) => Settings(Some(config)),
            Err(error) => {
                output::complain(&format!("WARNING: {}", error.line()));
                Settings(None)
            }
        }
    }

    fn value(&self, key: &str) -> &Value {
        self.0.as_ref().and_then(|config| config.value(key)).unwrap_or(&Value::Null)
    }

    /// A text: `psFormat`, `detachKeys`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).as_str().filter(|text| !text.is_empty())
    }

    /// Fills in what the command line did not say.
    pub(crate) fn apply(&self, entry: &Entry, given: &mut Given) {
        if let Some(keys) = self.text("detachKeys") {
            given.wish("detach-keys", keys);
        }
        let is_of =
            |(noun, verb, _): &&(&str, &str, &str)| entry.noun == Some(*noun) && entry.verbs[0] == *verb;
        let format = FORMATS.iter().find(is_of).and_then(|(_, _, key)| self.text(key));
        // Who asks for ids alone asks for no format.
        if let Some(format) = format.filter(|_| !given.has("quiet")) {
            given.wish("format", format);
        }
    }

    /// `HttpHeaders`: they go with every request. What is no header is complained about.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, value) in self.value("HttpHeaders").as_object().into_iter().flatten() {
            let value = value.as_str().and_then(|text| text.parse::<HeaderValue>().ok());
            match (name.parse::<HeaderName>(), value) {
                (Ok(name), Some(value)) => headers.push((name, value)),
                _ => output::complain(&format!("WARNING: config.json: HttpHeaders: {name} is no header")),
            }
        }
        headers
    }

    /// The proxies of the daemon at `host`, for the environment of a container: where `variables` do not set them.
    pub(crate) fn add_proxies(&self, host: &str, variables: &mut Option<Vec<String>>) {
        let proxies = self.value("proxies");
        let own = if proxies[host].is_object() { &proxies[host] } else { &proxies["default"] };
        for (key, name) in PROXIES {
            let Some(value) = own[key].as_str().filter(|value| !value.is_empty()) else { continue };
            for name in [name.to_owned(), name.to_lowercase()] {
                let given = variables.get_or_insert_default();
                let is_set = given.iter().any(|variable| variable.split('=').next() == Some(name.as_str()));
                if !is_set {
                    given.push(format!("{name}={value}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::registry::config::Config;
    use serde_json::json;

    fn settings(json: serde_json::Value) -> Settings {
        Settings(Some(Config::of(json)))
    }

    #[test]
    fn proxies_are_the_daemons_own_or_the_usual_ones_and_never_override() {
        let settings = settings(json!({"proxies": {
            "default": {"httpProxy": "http://p:1", "noProxy": "a"}, "tcp://far:1": {"httpsProxy": "http://q:2"},
        }}));
        let mut variables = Some(vec!["HTTP_PROXY=mine".to_owned(), "no_proxy".to_owned()]);
        settings.add_proxies("unix:///x", &mut variables);
        assert_eq!(
            variables.unwrap(),
            ["HTTP_PROXY=mine", "no_proxy", "http_proxy=http://p:1", "NO_PROXY=a"]
        );
        let mut variables = None;
        settings.add_proxies("tcp://far:1", &mut variables);
        assert_eq!(variables.unwrap(), ["HTTPS_PROXY=http://q:2", "https_proxy=http://q:2"]);
    }

    #[test]
    fn nothing_said_is_nothing_wished() {
        let settings = settings(json!({"psFormat": "", "HttpHeaders": {"X-A": "b"}}));
        assert_eq!(settings.text("psFormat"), None);
        assert_eq!(settings.headers().len(), 1);
        let mut variables = None;
        settings.add_proxies("unix:///x", &mut variables);
        assert_eq!(variables, None);
    }
}
