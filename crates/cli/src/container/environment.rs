//! `-e`, `--env-file`, `--label`: `KEY=VALUE`, and `KEY` for what the user's own environment holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::Error;
use crate::flags::Given;

/// The longest file of variables that is read.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// All variables: those of the files first, so that `-e` overrides them.
pub(crate) fn read(given: &Given) -> Result<Vec<String>, Error> {
    let own = |name: &str| std::env::var(name).ok();
    let mut variables = Vec::new();
    for path in given.list("env-file") {
        let text = read_file(path.as_ref())?;
        let parsed = parse_file(&text, own);
        variables
            .extend(parsed.map_err(|reason| Error::Value(format!("invalid env file ({path}): {reason}")))?);
    }
    variables.extend(given.parsed_list("env", |text| variable(text, own))?);
    Ok(variables)
}

/// `KEY=VALUE` as it is; `KEY` with the value of our own environment, or alone: then it takes the image's away.
fn variable(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err(format!("invalid environment variable: {text}")),
        None => Ok(own(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

/// `--label` and, before it, `--label-file`, whose lines are `KEY[=VALUE]` too.
pub(crate) fn labels(given: &Given) -> Result<BTreeMap<String, String>, Error> {
    let mut labels = BTreeMap::new();
    for path in given.list("label-file") {
        let parsed = parse_file(&read_file(path.as_ref())?, |_| Some(String::new()));
        let lines =
            parsed.map_err(|reason| Error::Value(format!("invalid label file ({path}): {reason}")))?;
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        labels.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    labels.extend(map(given, "label")?);
    Ok(labels)
}

fn read_file(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { action: "open", path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes)
        .map_err(|_| Error::Value(format!("env file {} contains invalid utf8 bytes", path.display())))
}

/// One variable per line; `#` begins a comment line; the value is everything after the first `=`, quotes and all.
fn parse_file(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        // Here a name that nobody has set is left out, unlike with `-e`.
        let value = value.map(str::to_owned).or_else(|| own(name));
        variables.extend(value.map(|value| format!("{name}={value}")));
    }
    Ok(variables)
}

/// `KEY[=VALUE]`; the last one given for a key holds.
pub(crate) fn map(given: &Given, flag: &str) -> Result<BTreeMap<String, String>, Error> {
    let pairs = given.parsed_list(flag, |text| match text.split_once('=').unwrap_or((text, "")) {
        ("", _) => Err(format!("invalid {flag} '{text}': empty name")),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    })?;
    Ok(pairs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::{parse_file, variable};
    use proptest::prelude::*;

    fn own(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn variables() {
        let cases = [
            ("A=b", Ok("A=b")),
            ("A=", Ok("A=")),
            ("A=b=c d", Ok("A=b=c d")),
            ("HOME", Ok("HOME=/root")),
            ("UNSET", Ok("UNSET")),
            ("=b", Err("invalid environment variable: =b")),
            ("", Err("invalid environment variable: ")),
        ];
        for (text, expected) in cases {
            assert_eq!(variable(text, own), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn files_of_variables() {
        let text = "\u{feff}# comment\n\n  A=b\n\t# more\r\nQ=\"x\" # y\nHOME\nUNSET\nB= c \nC=\n";
        let expected = ["A=b", "Q=\"x\" # y", "HOME=/root", "B= c ", "C="];
        assert_eq!(parse_file(text, own).unwrap(), expected);
        assert_eq!(parse_file("a b=c", own).unwrap_err(), "variable 'a b' contains whitespaces");
        assert_eq!(parse_file("A =c", own).unwrap_err(), "variable 'A ' contains whitespaces");
        assert_eq!(parse_file("=c", own).unwrap_err(), "no variable name on line '=c'");
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parsers(text in "\\PC*") {
            let _ = parse_file(&text, own);
            let _ = variable(&text, own);
        }
    }
}
