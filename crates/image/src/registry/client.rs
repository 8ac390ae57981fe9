//! Requests: authenticated, redirected, retried, at one endpoint after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use oci::descriptor::Descriptor;
use oci::digest::{Algorithm, Digest};
use oci::manifest::{MAX_DOCUMENT_SIZE, media_type};
use oci::reference::Reference;
use serde::Deserialize;
use tokio::time::timeout;

use super::activity::Activity;
use super::auth::{self, Challenge, TokenAnswer};
use super::connect::{Connector, Target, chain};
use super::failure::{Attempt, Failure, RegistryError};
use super::hosts::{self, Endpoint, Right, Scheme, Tls};
use super::proxy::{Proxies, split_port};
use super::{Access, Config, Credentials};

/// What is sent.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A host that has not begun to answer by then is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Tries of one request at one host, and the pauses between them.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// All that is waited for a host that says that it has enough.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
pub(super) const REDIRECTIONS_MAX: u32 = 5;
/// Tokens that are remembered; they are worth a request each, and most are valid for some minutes.
const TOKENS_MAX: usize = 1000;
/// An error's text, and a token.
const ANSWER_MAX: usize = 1 << 20;
/// Digest of a manifest, as registries tell it.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A client of all registries.
pub(crate) struct Registry {
    pub(super) config: Config,
    connector: Connector,
    tokens: Mutex<HashMap<TokenKey, String>>,
}

/// Whose token it is: the host, the scope, and everything that whoever asks has shown. Only who shows the same secret gets the
/// same token.
#[derive(PartialEq, Eq, Hash)]
struct TokenKey {
    host: String,
    scope: String,
    credentials: Option<Digest>,
}

// Tokens are secrets.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A repository, and who asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: Reference,
    pub(crate) access: Access,
    /// What is allowed there: `pull`, or `pull,push`.
    pub(crate) scope: &'static str,
}

/// The hosts of a registry, one after the other, and why each did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Round {
    name: String,
    left: VecDeque<Endpoint>,
    attempts: Vec<Attempt>,
}

impl Round {
    /// The next host to be asked.
    pub(crate) fn next(&mut self) -> Option<Endpoint> {
        self.left.pop_front()
    }

    /// It did not do it.
    pub(crate) fn failed(&mut self, endpoint: &Endpoint, failure: Failure) {
        self.attempts.push(Attempt { host: endpoint.authority(), failure });
    }

    /// None of them did it.
    pub(crate) fn over(self) -> RegistryError {
        RegistryError { name: self.name, attempts: self.attempts }
    }
}

/// A request that can be sent again.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Behind the endpoint's path, or a whole URL.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: &'a (dyn Fn() -> Body + Sync),
}

/// The errors of a registry's answer.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A URL, taken apart.
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    port: u16,
    /// With the query.
    path: String,
}

impl Url {
    /// With the query.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn nothing() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed()
}

impl Registry {
    pub(crate) fn new(config: Config) -> Registry {
        Registry { config, connector: Connector::default(), tokens: Mutex::default() }
    }

    pub(super) fn proxies<'a>(&'a self, access: &'a Access) -> &'a Proxies {
        access.proxies.as_ref().unwrap_or(&self.config.proxies)
    }

    /// The endpoints that may be asked, to be tried in order.
    pub(crate) fn round(&self, source: &Source, right: Right) -> Round {
        let domain = source.name.domain();
        let mut round = Round { name: source.name.familiar(), left: VecDeque::new(), attempts: Vec::new() };
        match hosts::endpoints(&self.config, &source.access, domain) {
            Ok(endpoints) => {
                let mut endpoints: Vec<_> =
                    endpoints.into_iter().filter(|endpoint| endpoint.may(right)).collect();
                let headers = &source.access.headers;
                endpoints.iter_mut().for_each(|endpoint| endpoint.headers.extend_from_slice(headers));
                round.left.extend(endpoints);
            }
            Err(failure) => round.attempts.push(Attempt { host: domain.to_owned(), failure }),
        }
        if round.left.is_empty() && round.attempts.is_empty() {
            let failure = Failure::Configuration("no host may be asked for this (hosts.toml)".into());
            round.attempts.push(Attempt { host: domain.to_owned(), failure });
        }
        round
    }

    /// A manifest or an index: what its name leads to, and its bytes.
    pub(crate) async fn manifest(
        &self,
        source: &Source,
        reference: &str,
        expected: Option<&Digest>,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let right = if expected.is_some() { Right::Pull } else { Right::Resolve };
        let mut round = self.round(source, right);
        while let Some(endpoint) = round.next() {
            match self.manifest_at(&endpoint, source, reference, expected).await {
                Ok(found) => return Ok(found),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        reference: &str,
        expected: Option<&Digest>,
    ) -> Result<(Descriptor, Vec<u8>), Failure> {
        let ask = Ask {
            method: Method::GET,
            path: format!("/{}/manifests/{reference}", source.name.path()),
            headers: vec![(hyper::header::ACCEPT, accepted())],
            body: &nothing,
        };
        let answer = self.send(endpoint, source, &ask).await?;
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (kind, told) = (header("content-type"), header(DIGEST_HEADER));
        let bytes = collect(answer.into_body(), MAX_DOCUMENT_SIZE).await?;
        let actual = Digest::of(&bytes);
        let told = Digest::parse(&told).ok();
        if let Some(expected) =
            expected.or(told.as_ref().filter(|told| told.algorithm() == Algorithm::Sha256))
            && *expected != actual
        {
            return Err(Failure::Content(format!("the manifest is {actual} and not {expected}")));
        }
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        Ok((Descriptor::new(&kind, actual, bytes.len() as u64), bytes))
    }

    /// Sends a request until it is answered with a success, or will not be.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        ask: &Ask<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        retried(endpoint, || self.authenticated(endpoint, source, ask)).await
    }

    /// Sends a request, and once more with what the answer asks for to know who asks.
    pub(crate) async fn authenticated(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        ask: &Ask<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        let credentials = self.credentials(endpoint, source).await;
        let credentials = credentials.as_ref();
        let scope = format!("repository:{}:{}", source.name.path(), source.scope);
        let key = TokenKey {
            host: endpoint.authority(),
            scope: scope.clone(),
            credentials: credentials.map(Credentials::digest),
        };
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (answer, is_own) = self.once(endpoint, source, ask, known.as_deref()).await?;
        // Another host has no say in who is asked what.
        if answer.status() != StatusCode::UNAUTHORIZED || !is_own {
            return succeeded(answer).await;
        }
        let values =
            answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let with_credentials = credentials.is_some();
        let authorization = match auth::challenge(values) {
            Some(Challenge::Basic) => credentials.map(auth::basic),
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                let scope = if asked.is_empty() { scope } else { asked };
                let place = (realm.as_str(), service.as_str(), scope.as_str());
                Some(format!("Bearer {}", self.token(endpoint, source, place, credentials).await?.0))
            }
            None => None,
        };
        let Some(authorization) = authorization else {
            return Err(Failure::Unauthorized { with_credentials });
        };
        let (answer, is_own) = self.once(endpoint, source, ask, Some(&authorization)).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && is_own {
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            return Err(Failure::Unauthorized { with_credentials });
        }
        self.remember(key, authorization);
        succeeded(answer).await
    }

    fn remember(&self, key: TokenKey, authorization: String) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(key, authorization);
    }

    /// Credentials are the registry's; a mirror gets none of them, unless somebody knows its own.
    async fn credentials(&self, endpoint: &Endpoint, source: &Source) -> Option<Credentials> {
        let credentials = match &source.access.asker {
            Some(asker) => (asker.0)(endpoint.authority()).await,
            None => {
                let is_own =
                    endpoint.mirror_of.as_ref().is_none_or(|_| endpoint.authority() == source.name.domain());
                source.access.credentials.clone().filter(|_| is_own)
            }
        };
        credentials.filter(|credentials| !credentials.is_empty())
    }

    /// A token for a scope, and the identity token that came with it.
    pub(super) async fn token(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        (realm, service, scope): (&str, &str, &str),
        credentials: Option<&Credentials>,
    ) -> Result<(String, String), Failure> {
        if let Some(token) = credentials.map(|one| &one.registry_token).filter(|token| !token.is_empty()) {
            return Ok((token.clone(), String::new()));
        }
        let url =
            parse_url(realm).ok_or_else(|| Failure::Content(format!("`{realm}` is no URL of tokens")))?;
        may_lead(endpoint, &url)?;
        let target = self.target_of(&url, Some(endpoint));
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
            pairs.map(|(key, value)| format!("{key}={}", auth::escape(value))).collect::<Vec<_>>().join("&")
        };
        let identity = credentials.map(|one| one.identity_token.as_str()).filter(|token| !token.is_empty());
        let request = match identity {
            Some(identity) => {
                let form = pairs(&[
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("scope", scope),
                    ("client_id", "corten"),
                    ("refresh_token", identity),
                ]);
                Request::builder()
                    .method(Method::POST)
                    .uri(&url.path)
                    .header(hyper::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Full::new(Bytes::from(form)).map_err(|never| match never {}).boxed())
            }
            None => {
                let account = credentials.map_or("", |one| one.username.as_str());
                let query = pairs(&[("service", service), ("scope", scope), ("account", account)]);
                let separator = if url.path.contains('?') { '&' } else { '?' };
                let request = Request::builder().uri(format!("{}{separator}{query}", url.path));
                match credentials {
                    Some(credentials) => request.header(AUTHORIZATION, auth::basic(credentials)),
                    None => request,
                }
                .body(nothing())
            }
        };
        let request = request.map_err(|error| Failure::Content(error.to_string()))?;
        let answer = self.exchange(&target, self.proxies(&source.access), request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(Failure::Unauthorized { with_credentials: credentials.is_some() });
        }
        let bytes = collect(succeeded(answer).await?.into_body(), ANSWER_MAX).await?;
        let answer: TokenAnswer = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::Content("the server of tokens did not send one".into()))?;
        match answer.token() {
            Some(token) => Ok((token.to_owned(), answer.refresh_token.clone())),
            None => Err(Failure::Content("the server of tokens did not send one".into())),
        }
    }

    /// Sends a request as it is, and follows where the answer leads. The answer, and whether it is the endpoint's own.
    async fn once(
        &self,
        endpoint: &Endpoint,
        source: &Source,
        ask: &Ask<'_>,
        authorization: Option<&str>,
    ) -> Result<(Response<Incoming>, bool), Failure> {
        let own = Url {
            is_tls: endpoint.scheme != Scheme::Http,
            host: endpoint.host.clone(),
            port: endpoint.port,
            path: with_namespace(&format!("{}{}", endpoint.path, ask.path), endpoint),
        };
        let mut url = match parse_url(&ask.path) {
            // A place that the registry named earlier.
            Some(whole) => whole,
            None => own,
        };
        for _ in 0..REDIRECTIONS_MAX {
            may_lead(endpoint, &url)?;
            let is_own = (&url.host, url.port) == (&endpoint.host, endpoint.port);
            let target = if is_own { target_of(endpoint) } else { self.target_of(&url, None) };
            let mut request = Request::builder().method(ask.method.clone()).uri(&url.path);
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            // Neither what the registry is told nor who asks is anybody else's business.
            if is_own {
                for (name, value) in &endpoint.headers {
                    request = request.header(name, value);
                }
                if let Some(authorization) = authorization {
                    request = request.header(AUTHORIZATION, authorization);
                }
            }
            let request = request.body((ask.body)()).map_err(|error| Failure::Content(error.to_string()))?;
            let answer = self.exchange(&target, self.proxies(&source.access), request).await?;
            let is_elsewhere = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_elsewhere || ask.method != Method::GET && ask.method != Method::HEAD {
                return Ok((answer, is_own));
            }
            url = location(&answer, &url)?;
        }
        Err(Failure::Content("it leads in circles".into()))
    }

    pub(super) fn target_of(&self, url: &Url, near: Option<&Endpoint>) -> Target {
        // A server of tokens beside its registry is trusted as the registry is.
        let near = near.filter(|endpoint| endpoint.host == url.host);
        Target {
            scheme: if url.is_tls { Scheme::Https } else { Scheme::Http },
            host: url.host.clone(),
            port: url.port,
            tls: near.map_or_else(Tls::default, |endpoint| endpoint.tls.clone()),
            dial_timeout: Duration::from_secs(30),
        }
    }

    pub(super) async fn exchange(
        &self,
        target: &Target,
        proxies: &Proxies,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut connection = self.connector.connect(target, proxies).await?;
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        let usual = if connection.is_tls { 443 } else { 80 };
        let authority = if target.port == usual { host } else { format!("{host}:{}", target.port) };
        let headers = request.headers_mut();
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|error| Failure::Content(error.to_string()));
        headers.insert(hyper::header::HOST, value(&authority)?);
        headers.insert(
            hyper::header::USER_AGENT,
            HeaderValue::from_static(concat!("corten/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = &connection.by_proxy {
            if let Some(authorization) = authorization {
                headers.insert(hyper::header::PROXY_AUTHORIZATION, value(authorization)?);
            }
            let whole = format!("http://{authority}{}", request.uri());
            *request.uri_mut() =
                whole.parse().map_err(|_| Failure::Content(format!("`{whole}` is no URL")))?;
        }
        let activity = Activity::default();
        let request = request.map(|body| activity.watch(body));
        match activity.patience(ANSWER_TIMEOUT, connection.sender.send_request(request)).await {
            None => Err(Failure::Timeout(ANSWER_TIMEOUT)),
            Some(Err(error)) => Err(Failure::Connect(chain(&error))),
            Some(Ok(answer)) => Ok(answer),
        }
    }
}

/// Asks again what failed in passing, up to a number of times and with growing pauses.
pub(crate) async fn retried<T, F>(endpoint: &Endpoint, ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let failure = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let wait = match &failure {
            Failure::RateLimited { retry_after: Some(wait) } if *wait > RETRY_AFTER_MAX => {
                return Err(failure);
            }
            Failure::RateLimited { retry_after: Some(wait) } => *wait,
            _ => pause,
        };
        // A host that nobody listens at, or a mirror, is not waited for: there are others.
        let is_last = attempt == ATTEMPTS || endpoint.mirror_of.is_some();
        if is_last || !failure.is_passing() || matches!(failure, Failure::Connect(_) if attempt > 1) {
            return Err(failure);
        }
        tokio::time::sleep(wait).await;
        pause *= 2;
    }
    unreachable!("the loop returns")
}

/// What is asked over TLS does not go on without it, whoever says so; unless the registry may do without.
fn may_lead(endpoint: &Endpoint, url: &Url) -> Result<(), Failure> {
    match endpoint.is_verified() && !url.is_tls {
        true => Err(Failure::Content(format!("it leads to http://{}, without TLS", url.host))),
        false => Ok(()),
    }
}

pub(super) fn target_of(endpoint: &Endpoint) -> Target {
    Target {
        scheme: endpoint.scheme,
        host: endpoint.host.clone(),
        port: endpoint.port,
        tls: endpoint.tls.clone(),
        dial_timeout: endpoint.dial_timeout,
    }
}

/// Mirrors are told whose content is asked for.
fn with_namespace(path: &str, endpoint: &Endpoint) -> String {
    match &endpoint.mirror_of {
        Some(registry) => {
            let separator = if path.contains('?') { '&' } else { '?' };
            format!("{path}{separator}ns={}", auth::escape(registry))
        }
        None => path.to_owned(),
    }
}

/// Every kind of document that is understood.
fn accepted() -> String {
    [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST]
        .join(", ")
}

/// The answer, or the failure that it tells.
pub(super) async fn succeeded(answer: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = retry_after(answer.headers());
    let bytes = collect(answer.into_body(), ANSWER_MAX).await.unwrap_or_default();
    let (code, message) = message_of(&bytes);
    Err(match status {
        StatusCode::NOT_FOUND => Failure::NotFound(message),
        StatusCode::FORBIDDEN => Failure::Denied(message),
        StatusCode::TOO_MANY_REQUESTS => Failure::RateLimited { retry_after },
        _ if code == "TOOMANYREQUESTS" => Failure::RateLimited { retry_after },
        _ if code == "DENIED" => Failure::Denied(message),
        _ => Failure::Status { status: status.as_u16(), message },
    })
}

/// In seconds; dates are not waited for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Code and text of the first error.
fn message_of(bytes: &[u8]) -> (String, String) {
    const SHOWN_MAX: usize = 200;
    let first = serde_json::from_slice::<Errors>(bytes).ok().and_then(|body| body.errors.into_iter().next());
    let one_line =
        |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
    first.map_or_else(Default::default, |error| (error.code, one_line(&error.message)))
}

pub(crate) async fn collect(body: Incoming, max: usize) -> Result<Vec<u8>, Failure> {
    let collected = timeout(ANSWER_TIMEOUT, Limited::new(body, max).collect()).await;
    match collected.map_err(|_| Failure::Timeout(ANSWER_TIMEOUT))? {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::Content(format!("its answer has more than {max} bytes")))
        }
        Err(error) => Err(Failure::Connect(error.to_string())),
    }
}

/// Where an answer leads, seen from where it came.
pub(super) fn location(answer: &Response<Incoming>, from: &Url) -> Result<Url, Failure> {
    let text = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(url) = parse_url(text) {
        return Ok(url);
    }
    match text.starts_with('/') {
        true => {
            Ok(Url { is_tls: from.is_tls, host: from.host.clone(), port: from.port, path: text.to_owned() })
        }
        false => Err(Failure::Content("it leads nowhere".into())),
    }
}

/// A whole URL of HTTP.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let is_tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = split_port(authority);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    (!host.is_empty()).then(|| Url {
        is_tls,
        host,
        port: port.unwrap_or(if is_tls { 443 } else { 80 }),
        path,
    })
}

/// The place that an answer names, as a whole URL.
pub(crate) fn place_of(answer: &Response<Incoming>, endpoint: &Endpoint) -> Result<String, Failure> {
    let is_tls = endpoint.scheme != Scheme::Http;
    let own = Url { is_tls, host: endpoint.host.clone(), port: endpoint.port, path: String::new() };
    let url = location(answer, &own)?;
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    Ok(format!("{}://{host}:{}{}", if url.is_tls { "https" } else { "http" }, url.port, url.path))
}
