//! A request, taken apart: version, path, query, body.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use engine::Engine;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request as HttpRequest, StatusCode};
use serde::de::DeserializeOwned;

use crate::answer::Failure;
use crate::{API_VERSION, MIN_API_VERSION};

/// The largest JSON document that a client may send; the largest real ones are a tenth of it.
const MAX_JSON_BYTES: usize = 4 << 20;

/// Docker's filters: a name and the values asked for.
pub(crate) type Filters = BTreeMap<String, Vec<String>>;

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) engine: Arc<Engine>,
    pub(crate) method: Method,
    pub(crate) version: (u32, u32),
    /// Decoded, without the version.
    pub(crate) path: Vec<String>,
    query: Vec<(String, String)>,
    http: HttpRequest<Incoming>,
}

impl Request {
    /// Takes the request apart.
    pub(crate) fn read(engine: Arc<Engine>, http: HttpRequest<Incoming>) -> Result<Request, Failure> {
        let mut path: Vec<String> = http
            .uri()
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decode(part, false))
            .collect::<Result<_, _>>()?;
        let version = match path.first().and_then(|first| parse_version(first)) {
            Some(version) => {
                path.remove(0);
                version
            }
            None => API_VERSION,
        };
        check_version(version)?;
        let query = parse_query(http.uri().query().unwrap_or_default())?;
        Ok(Request { engine, method: http.method().clone(), version, path, query, http })
    }

    /// The value of a query parameter, unless it is absent or empty.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        (!found.1.is_empty()).then_some(found.1.as_str())
    }

    /// All values of a repeated query parameter.
    pub(crate) fn query_all(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a parameter is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(key, _)| key == name)
    }

    /// Docker's booleans: anything but nothing, `0`, `no`, `false` and `none` is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.query(name).unwrap_or_default().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.query(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::bad(format!("invalid value for `{name}`: \"{text}\"")))
    }

    /// The filters; refuses those that the endpoint does not know.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Filters, Failure> {
        let Some(text) = self.query("filters") else { return Ok(Filters::new()) };
        let filters =
            parse_filters(text).ok_or_else(|| Failure::bad("invalid filters: not the JSON of a filter"))?;
        match filters.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Failure::bad(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    /// The JSON document in the body; no body is an empty document.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Failure> {
        let body = Limited::new(self.http.body_mut(), MAX_JSON_BYTES).collect().await;
        let bytes = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let message = format!("the request's document is larger than {MAX_JSON_BYTES} bytes");
                return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            Err(error) => return Err(Failure::bad(format!("the request was cut short: {error}"))),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::bad(format!("invalid JSON: {error}")))
    }

    /// The body, to be read piece by piece.
    pub(crate) fn into_body(self) -> Incoming {
        self.http.into_body()
    }

    /// The request as it came, for an upgrade.
    pub(crate) fn http_mut(&mut self) -> &mut HttpRequest<Incoming> {
        &mut self.http
    }

    /// Whether the client asked for an upgrade of the protocol, or just takes the connection over.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.http.headers().contains_key(hyper::header::UPGRADE)
    }
}

/// Values of the form `key` or `key=value`.
pub(crate) fn labels(values: &[String]) -> Vec<(String, Option<String>)> {
    values
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.clone(), None),
        })
        .collect()
}

/// `v1.41`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn check_version(version: (u32, u32)) -> Result<(), Failure> {
    let show = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    let (asked, newest, oldest) = (show(version), show(API_VERSION), show(MIN_API_VERSION));
    if version > API_VERSION {
        let message = format!("client version {asked} is too new. Maximum supported API version is {newest}");
        return Err(Failure::bad(message));
    }
    if version < MIN_API_VERSION {
        return Err(Failure::bad(format!(
            "client version {asked} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
        )));
    }
    Ok(())
}

fn parse_query(text: &str) -> Result<Vec<(String, String)>, Failure> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key, true)?, decode(value, true)?))
        })
        .collect()
}

/// Undoes percent-encoding; in a query `+` is a space.
fn decode(text: &str, is_query: bool) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if is_query => b' ',
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'?')).to_digit(16));
                match digits {
                    [Some(high), Some(low)] => u8::try_from(high * 16 + low).expect("two hexadecimal digits"),
                    _ => return Err(Failure::bad("invalid URL escape")),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Failure::bad("the request's path is not text"))
}

/// Both forms: `{"name":["value"]}` and, of older clients, `{"name":{"value":true}}`.
fn parse_filters(text: &str) -> Option<Filters> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut filters = Filters::new();
    for (name, values) in value.as_object()? {
        let values = match values {
            serde_json::Value::Array(list) => {
                list.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            serde_json::Value::Object(map) => map
                .iter()
                .filter(|(_, set)| set.as_bool() == Some(true))
                .map(|(value, _)| value.clone())
                .collect(),
            _ => return None,
        };
        filters.insert(name.clone(), values);
    }
    Some(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded_once() {
        assert_eq!(decode("a%2Fb%20c+d", false).unwrap(), "a/b c+d");
        assert_eq!(decode("a+b%2B", true).unwrap(), "a b+");
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert!(decode(wrong, false).is_err(), "{wrong}");
        }
        let query = parse_query("a=1&b&a=2&&c=x%26y").unwrap();
        let text: Vec<String> = query.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        assert_eq!(text, ["a:1", "b:", "a:2", "c:x&y"]);
    }

    #[test]
    fn versions_have_bounds() {
        assert_eq!(parse_version("v1.41"), Some((1, 41)));
        for text in ["1.41", "v1", "vx.y", "v1.", "containers"] {
            assert_eq!(parse_version(text), None, "{text}");
        }
        assert!(check_version((1, 24)).is_ok() && check_version((1, 51)).is_ok());
        assert!(check_version((1, 23)).unwrap_err().message.contains("too old"));
        assert!(check_version((1, 52)).unwrap_err().message.contains("too new"));
    }

    #[test]
    fn filters_have_two_forms() {
        let expected = Filters::from([("name".to_owned(), vec!["a".to_owned()])]);
        assert_eq!(parse_filters(r#"{"name":["a"]}"#), Some(expected.clone()));
        assert_eq!(parse_filters(r#"{"name":{"a":true,"b":false}}"#), Some(expected));
        for wrong in ["", "[]", "x", r#"{"name":"a"}"#, r#"{"name":[1]}"#] {
            assert_eq!(parse_filters(wrong), None, "{wrong}");
        }
    }
}
