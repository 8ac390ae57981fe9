//! Proving who asks: Basic, and tokens of the distribution project
//! (<https://distribution.github.io/distribution/spec/auth/token/>). Parsing is pure.

use base64::Engine;
use serde::Deserialize;

use super::Credentials;

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: String, scope: String },
}

/// The answer of a server of tokens.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    /// In exchange for a password, when it was asked for.
    #[serde(default)]
    pub(super) refresh_token: String,
}

impl TokenAnswer {
    pub(super) fn token(&self) -> Option<&str> {
        [&self.token, &self.access_token].into_iter().map(String::as_str).find(|token| !token.is_empty())
    }
}

/// Reads the values of `WWW-Authenticate` (RFC 9110, section 11.6.1); a token is preferred to a password.
pub(super) fn challenge<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for value in values {
        let (scheme, parameters) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = read_parameters(parameters);
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default()
            };
            if !get("realm").is_empty() {
                return Some(Challenge::Bearer {
                    realm: get("realm"),
                    service: get("service"),
                    scope: get("scope"),
                });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// `key="value", key=value`; in quotes a backslash takes away what the next character means.
fn read_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_start_matches([',', ' ', '\t']).trim().to_ascii_lowercase();
        let (value, left) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => read_quoted(quoted),
            None => match after.split_once(',') {
                Some((value, left)) => (value.trim().to_owned(), left),
                None => (after.trim().to_owned(), ""),
            },
        };
        parameters.push((key, value));
        rest = left;
    }
    parameters
}

fn read_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The value of `Authorization` for a name and a password.
pub(super) fn basic(credentials: &Credentials) -> String {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Encodes a part of a query or a form.
pub(super) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: &str, scope: &str| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.into(), scope: scope.into() })
        };
        for (values, expected) in [
            (&["Basic realm=\"x\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &["Bearer realm=\"https://a/token\",service=\"a b\",scope=\"repository:x:pull,push\""],
                bearer("https://a/token", "a b", "repository:x:pull,push"),
            ),
            (&["Basic realm=\"x\"", "BEARER realm=https://a/t , service=s"], bearer("https://a/t", "s", "")),
            (&["Bearer realm=\"q\\\"u\""], bearer("q\"u", "", "")),
            (&["Bearer service=\"x\"", "Negotiate"], None),
            (&[""], None),
        ] {
            assert_eq!(challenge(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn passwords_become_headers() {
        let credentials =
            Credentials { username: "a".into(), password: "b:c".into(), ..Credentials::default() };
        assert_eq!(basic(&credentials), "Basic YTpiOmM=");
        assert!(!format!("{credentials:?}").contains("b:c"));
        assert_eq!(escape("a b&c=d/ü"), "a%20b%26c%3Dd%2F%C3%BC");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,200}") {
            drop(challenge([text.as_str()].into_iter()));
        }
    }
}
