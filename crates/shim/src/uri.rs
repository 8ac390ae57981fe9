//! Addresses of streams, as containerd's clients write them: `/path`, `fifo:///path`, `file:///path`,
//! `binary:///program?key=value&flag`. What has no scheme is a path as it is; anything else is an RFC 3986 address.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// What an address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Fifo(PathBuf),
    File(PathBuf),
    Program(Program),
}

/// A program that takes a process's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) readiness: Readiness,
}

/// How a program says that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It closes its descriptor 5, or writes to it (`binary://`). One that ends does so, too.
    Closes,
    /// It writes a byte (`binary-v2://`): one that ends without it has failed.
    Writes,
}

impl Target {
    /// `None`: no stream is wanted.
    pub(crate) fn parse(uri: &str) -> Result<Option<Target>> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Ok((!uri.is_empty()).then(|| Target::Fifo(uri.into())));
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        // Between the scheme and the path there could be a host, which is nobody's.
        let path = &address[address.find('/').unwrap_or(address.len())..];
        let readiness = match scheme {
            "binary" => Readiness::Closes,
            "binary-v2" => Readiness::Writes,
            "fifo" => return Ok(Some(Target::Fifo(named(path, uri)?))),
            "file" => return Ok(Some(Target::File(named(path, uri)?))),
            _ => return Err(Error::Scheme { scheme: scheme.to_owned() }),
        };
        Ok(Some(Target::Program(Program { path: named(path, uri)?, arguments: arguments(query), readiness })))
    }
}

fn named(path: &str, uri: &str) -> Result<PathBuf> {
    match path {
        "" | "/" => Err(Error::NoPath { uri: uri.to_owned() }),
        path => Ok(PathBuf::from(decode(path, false))),
    }
}

/// `a=1&b&a=2` is `a 1 b ""`, in this order: a key counts once.
fn arguments(query: &str) -> Vec<OsString> {
    let mut pairs: Vec<(OsString, OsString)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key, true), decode(value, true));
        if !pairs.iter().any(|(other, _)| *other == key) {
            pairs.push((key, value));
        }
    }
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// Bytes for `%41`, and spaces for `+` within a query; what is no such sequence stays.
fn decode(text: &str, is_query: bool) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = match (first, behind) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        rest = if escaped.is_some() { &behind[2..] } else { behind };
        bytes.push(match first {
            b'+' if is_query => b' ',
            other => escaped.unwrap_or(*other),
        });
    }
    OsString::from_vec(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Option<Target> {
        Target::parse(uri).unwrap()
    }

    #[test]
    fn streams_are_fifos_files_or_programs() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("/run/x%41"), Some(Target::Fifo("/run/x%41".into())), "a path is taken as it is");
        assert_eq!(parse("fifo:///run/x"), Some(Target::Fifo("/run/x".into())));
        assert_eq!(parse("file:///var/a%20b?c"), Some(Target::File("/var/a b".into())));
        for bad in ["binary://", "binary://?a=b", "file://", "fifo://host"] {
            assert!(matches!(Target::parse(bad), Err(Error::NoPath { .. })), "{bad}");
        }
        let unknown = Target::parse("smoke:///signal").unwrap_err();
        assert!(unknown.to_string().starts_with("unknown STDIO scheme smoke"), "{unknown}");
    }

    #[test]
    fn a_query_is_the_programs_arguments_in_its_order() {
        for (query, arguments) in [
            ("", &[][..]),
            ("?_INTERNAL_LOGGING=/var/lib/x", &["_INTERNAL_LOGGING", "/var/lib/x"]),
            ("?b=2&a=1&b=3", &["b", "2", "a", "1"]),
            ("?flag&x=", &["flag", "", "x", ""]),
            ("?a+b=c%26d%zz#e", &["a b", "c&d%zz"]),
        ] {
            let program = Program {
                path: "/bin/log ger".into(),
                arguments: arguments.iter().map(OsString::from).collect(),
                readiness: Readiness::Closes,
            };
            let target = Some(Target::Program(program));
            assert_eq!(parse(&format!("binary:///bin/log%20ger{query}")), target, "{query}");
        }
        let Some(Target::Program(program)) = parse("binary-v2:///bin/x") else { panic!("a program") };
        assert_eq!(program.readiness, Readiness::Writes);
    }
}
