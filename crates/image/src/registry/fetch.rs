//! Any file of the web: what `import` makes an image of when it is given a URL.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use hyper::{Request, Response};

use super::client::{REDIRECTIONS_MAX, location, nothing, parse_url, succeeded};
use super::{Access, Attempt, Failure, Registry, RegistryError};

/// Silence after which a sender is given up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

impl Registry {
    /// The body of what is at a URL, and how many bytes it announces.
    pub(crate) async fn fetch(
        &self,
        text: &str,
        access: &Access,
    ) -> Result<(Incoming, Option<u64>), RegistryError> {
        let failed = |host: &str, failure| RegistryError {
            name: text.to_owned(),
            attempts: vec![Attempt { host: host.to_owned(), failure }],
        };
        let Some(mut url) = parse_url(text).filter(|url| !url.host.contains('@')) else {
            let why = "it is not http://HOST[:PORT]/PATH or https://…, without a password";
            return Err(failed(text, Failure::Content(why.into())));
        };
        for _ in 0..REDIRECTIONS_MAX {
            let answer = self.once_at(&url, access).await.map_err(|failure| failed(&url.host, failure))?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                let answer = succeeded(answer).await.map_err(|failure| failed(&url.host, failure))?;
                let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
                let length = length.and_then(|length| length.parse().ok());
                return Ok((answer.into_body(), length));
            }
            let next = location(&answer, &url).map_err(|failure| failed(&url.host, failure))?;
            if url.is_tls && !next.is_tls {
                let why = format!("it leads to http://{}, without TLS", next.host);
                return Err(failed(&url.host, Failure::Content(why)));
            }
            url = next;
        }
        Err(failed(&url.host, Failure::Content("it leads in circles".into())))
    }

    async fn once_at(
        &self,
        url: &super::client::Url,
        access: &Access,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::get(url.path()).header(ACCEPT_ENCODING, "identity").body(nothing());
        let request = request.map_err(|error| Failure::Content(error.to_string()))?;
        self.exchange(&self.target_of(url, None), self.proxies(access), request).await
    }
}
