//! What is asked of registries beside content: who one is, which tags there are, and what there is to be found.

use hyper::{Method, Request};
use oci::reference::Reference;
use serde::Deserialize;

use super::Access;
use super::auth::{self, Challenge, escape};
use super::client::{Ask, Registry, Source, collect, nothing, parse_url, target_of};
use super::failure::{Attempt, Failure, RegistryError};
use super::hosts::{self, Right};

/// A list of some thousand names.
const LIST_MAX: usize = 8 << 20;
/// Pages of tags that are read.
const PAGES_MAX: usize = 100;
/// Where Docker's index of images answers.
const INDEX: &str = "https://index.docker.io/v1/search";

/// One image that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub name: String,
    pub description: String,
    #[serde(alias = "star_count")]
    pub star_count: i64,
    pub is_official: bool,
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Vec<SearchResult>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Shows credentials to a registry; returns the identity token that it gives for them, if it does.
    pub(crate) async fn login(&self, host: &str, access: &Access) -> Result<String, RegistryError> {
        let domain = match host.trim_end_matches('/') {
            "" | "https://index.docker.io/v1" | "index.docker.io" => "docker.io",
            other => other.trim_start_matches("https://").trim_start_matches("http://"),
        };
        let domain = domain.split('/').next().unwrap_or_default();
        let failed = |host: &str, failure| RegistryError {
            name: domain.to_owned(),
            attempts: vec![Attempt { host: host.to_owned(), failure }],
        };
        // Only the registry itself is who one is to; what is asked of it names no repository.
        let endpoints =
            hosts::endpoints(&self.config, access, domain).map_err(|failure| failed(domain, failure))?;
        let endpoint = endpoints.iter().rfind(|endpoint| endpoint.mirror_of.is_none()).or(endpoints.last());
        let endpoint = endpoint.expect("there is always one");
        let name = Reference::parse_normalized(&format!("{domain}/x"))
            .map_err(|error| failed(domain, Failure::Configuration(error.to_string())))?;
        let source = Source { name, access: access.clone(), scope: "pull" };
        self.prove(endpoint, &source).await.map_err(|failure| failed(&endpoint.authority(), failure))
    }

    async fn prove(&self, endpoint: &hosts::Endpoint, source: &Source) -> Result<String, Failure> {
        let request = |authorization: Option<&str>| {
            let request = Request::builder().uri(format!("{}/", endpoint.path));
            let request = match authorization {
                Some(value) => request.header(hyper::header::AUTHORIZATION, value),
                None => request,
            };
            request.body(nothing()).map_err(|error| Failure::Content(error.to_string()))
        };
        let proxies = self.proxies(&source.access);
        let target = target_of(endpoint);
        let answer = self.exchange(&target, proxies, request(None)?).await?;
        let values = answer.headers().get_all(hyper::header::WWW_AUTHENTICATE).iter();
        let challenge = auth::challenge(values.filter_map(|value| value.to_str().ok()));
        let credentials = source.access.credentials.as_ref();
        let (authorization, identity) = match challenge {
            // Nobody is asked who they are here.
            None if answer.status().is_success() => return Ok(String::new()),
            None => return Err(Failure::Status { status: answer.status().as_u16(), message: String::new() }),
            Some(Challenge::Basic) => (credentials.map(auth::basic).unwrap_or_default(), String::new()),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let (token, identity) =
                    self.token(endpoint, source, (&realm, &service, &scope), credentials).await?;
                (format!("Bearer {token}"), identity)
            }
        };
        let answer = self.exchange(&target, proxies, request(Some(&authorization))?).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(identity),
            401 => Err(Failure::Unauthorized { with_credentials: true }),
            403 => Err(Failure::Denied(String::new())),
            status => Err(Failure::Status { status, message: String::new() }),
        }
    }

    /// All tags of a repository.
    pub(crate) async fn tags(&self, source: &Source) -> Result<Vec<String>, RegistryError> {
        let mut round = self.round(source, Right::Resolve);
        while let Some(endpoint) = round.next() {
            match self.tags_at(&endpoint, source).await {
                Ok(tags) => return Ok(tags),
                Err(failure) => round.failed(&endpoint, failure),
            }
        }
        Err(round.over())
    }

    async fn tags_at(&self, endpoint: &hosts::Endpoint, source: &Source) -> Result<Vec<String>, Failure> {
        let mut tags = Vec::new();
        let mut path = format!("/{}/tags/list", source.name.path());
        for _ in 0..PAGES_MAX {
            let ask = Ask { method: Method::GET, path: path.clone(), headers: Vec::new(), body: &nothing };
            let answer = self.send(endpoint, source, &ask).await?;
            let next = next_page(answer.headers(), &endpoint.path);
            let bytes = collect(answer.into_body(), LIST_MAX).await?;
            let page: Tags =
                serde_json::from_slice(&bytes).map_err(|_| Failure::Content("no list of tags".into()))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(tags)
    }

    /// Images whose names or descriptions have a word, by the registry that the term begins with.
    pub(crate) async fn search(
        &self,
        term: &str,
        limit: usize,
        access: &Access,
    ) -> Result<Vec<SearchResult>, RegistryError> {
        let (domain, term) = match term.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), rest),
            _ => (None, term),
        };
        let host = domain.unwrap_or("docker.io");
        let failed = |failure| RegistryError {
            name: term.to_owned(),
            attempts: vec![Attempt { host: host.to_owned(), failure }],
        };
        let query = format!("q={}&n={limit}", escape(term));
        let (target, path) = match domain {
            Some(domain) => {
                let endpoints = hosts::endpoints(&self.config, access, domain).map_err(failed)?;
                let endpoint = endpoints.last().expect("there is always one");
                (target_of(endpoint), "/v1/search".to_owned())
            }
            None => {
                let url = parse_url(INDEX).expect("a literal URL");
                (self.target_of(&url, None), url.path().to_owned())
            }
        };
        let mut request = Request::builder().uri(format!("{path}?{query}"));
        if let Some(credentials) = access.credentials.as_ref().filter(|one| !one.is_empty()) {
            request = request.header(hyper::header::AUTHORIZATION, auth::basic(credentials));
        }
        let request = request.body(nothing()).map_err(|error| failed(Failure::Content(error.to_string())))?;
        let answer = self.exchange(&target, self.proxies(access), request).await.map_err(failed)?;
        if answer.status() == hyper::StatusCode::NOT_FOUND {
            return Err(failed(Failure::NotFound("this registry offers no search".into())));
        }
        let status = answer.status().as_u16();
        let bytes = collect(answer.into_body(), LIST_MAX).await.map_err(failed)?;
        let found: Found = serde_json::from_slice(&bytes)
            .map_err(|_| failed(Failure::Status { status, message: "no list of images".into() }))?;
        Ok(found.results)
    }
}

/// RFC 8288's link to the next page, below the endpoint's path.
fn next_page(headers: &hyper::HeaderMap, base: &str) -> Option<String> {
    let link = headers.get(hyper::header::LINK)?.to_str().ok()?;
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    let path = match parse_url(target) {
        Some(url) => url.path().to_owned(),
        None => target.to_owned(),
    };
    path.strip_prefix(base).filter(|path| path.starts_with('/')).map(str::to_owned)
}
