//! The query of a request, read as dockerd reads it.

use crate::error::{Error, Result};

/// Names and values in their order, percent-decoded.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// The first value; none if it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a name that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Docker's booleans: everything but nothing, `0`, `no`, `false` and `none` is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| {
            !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
        })
    }

    /// A number, in the words of Go's `strconv` when it is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            Error::invalid(format!(
                "invalid parameter `{name}`: strconv.Atoi: parsing {text:?}: invalid syntax"
            ))
        })?;
        Ok(Some(number))
    }

    /// Refuses parameters that Docker knows and the door does not do, when they are set.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<()> {
        match names.iter().find(|name| self.flag(name)) {
            Some(name) => Err(Error::not_there_yet(format!("the parameter `{name}`"))),
            None => Ok(()),
        }
    }
}

/// Percent-decoding; what is not two hex digits stays as it is, and bytes that are not UTF-8 are replaced.
pub(crate) fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex_byte);
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::{Query, decode};

    #[test]
    fn queries_read_as_dockerd_reads_them() {
        let query = Query::parse("all=1&no=false&name=a%2Fb+c&changes=A&changes=B&bare&empty=&h=x");
        assert!(query.flag("all") && !query.flag("no") && !query.flag("bare") && !query.flag("missing"));
        assert_eq!(query.text("name"), Some("a/b c"));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.all("changes").collect::<Vec<_>>(), ["A", "B"]);
        assert!(query.number::<u16>("h").is_err());
        assert_eq!(query.number::<u16>("w").unwrap(), None);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for (text, want) in
            [("%41%", "A%"), ("%zz", "%zz"), ("%2", "%2"), ("%ff", "\u{fffd}"), ("%+1", "%+1")]
        {
            assert_eq!(decode(text), want, "{text}");
        }
    }
}
