//! A request on its way to its handler.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine::Scope;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::query::Query;
use crate::unread::Unread;

/// The oldest and the newest version of the API that are spoken.
pub(crate) const MIN_VERSION: ApiVersion = ApiVersion { major: 1, minor: 24 };
pub(crate) const MAX_VERSION: ApiVersion = ApiVersion { major: 1, minor: 51 };

/// Bound of a JSON body: the largest create requests that are seen are some hundred kilobytes of environment.
pub(crate) const MAX_JSON_BYTES: usize = 4 << 20;

/// A client that has said what it wants says the rest at once. Uploads have no such bound: they may wait for a person.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl ApiVersion {
    pub(crate) const fn new(major: u32, minor: u32) -> ApiVersion {
        ApiVersion { major, minor }
    }

    /// Parses `1.41`.
    pub(crate) fn parse(text: &str) -> Option<ApiVersion> {
        let (major, minor) = text.split_once('.')?;
        let digits = |text: &str| {
            text.len() <= 4 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        (digits(major) && digits(minor))
            .then(|| Some(ApiVersion { major: major.parse().ok()?, minor: minor.parse().ok()? }))?
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A request, with what its path and query said.
#[derive(Debug)]
pub(crate) struct Call {
    /// The engine, in the namespace that the request names.
    pub(crate) engine: Scope,
    pub(crate) peer: Arc<Peer>,
    /// What the path says, or the newest.
    pub(crate) version: ApiVersion,
    /// What stands at `{…}` in the route; else empty.
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) request: Unread,
}

impl Call {
    /// The JSON body; `None` when there is none.
    pub(crate) async fn optional_body<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        if self.request.body().is_end_stream() {
            return Ok(None);
        }
        let kind = self.request.headers().get(CONTENT_TYPE).cloned();
        let body = Limited::new(self.request.body_mut(), MAX_JSON_BYTES).collect();
        let bytes = match timeout(BODY_TIMEOUT, body).await.map_err(|_| Error::BodyTimeout)? {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Error::BodyTooLarge),
            Err(error) => return Err(Error::invalid(format!("the request body did not arrive: {error}"))),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(Error::invalid(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
    }

    /// The JSON body of a request that needs one.
    pub(crate) async fn body<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.optional_body()
            .await?
            .ok_or_else(|| Error::invalid("invalid JSON: got EOF while reading request body"))
    }
}

#[cfg(test)]
mod tests {
    use super::ApiVersion;

    #[test]
    fn versions_are_two_numbers() {
        assert_eq!(ApiVersion::parse("1.41"), Some(ApiVersion::new(1, 41)));
        for text in ["", "1", "1.", ".1", "1.4.1", "1.x", "-1.2", "1.+2", "1.99999"] {
            assert_eq!(ApiVersion::parse(text), None, "{text}");
        }
        assert!(ApiVersion::new(1, 9) < ApiVersion::new(1, 24));
    }
}
