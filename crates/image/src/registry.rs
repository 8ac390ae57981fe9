//! Registries: a client of the distribution specification
//! (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>).
//!
//! ```text
//! name ─ hosts ─▶ mirrors, then the registry itself: each is an endpoint with its own TLS, headers and rights
//!        client ─▶ a request at an endpoint: connect (proxy, TLS), ask, authenticate when asked to, retry what may come right
//! ```
//!
//! When all endpoints fail, the error lists each with its reason. Credentials go only to the registry that they are for and to the
//! server of tokens that it names; they are never shown, logged or sent along a redirection to another host.

mod activity;
mod auth;
mod client;
mod connect;
mod failure;
mod fetch;
mod hosts;
mod proxy;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use oci::digest::Digest;

pub use failure::{Attempt, Failure, RegistryError};
pub use proxy::Proxies;
pub use search::SearchResult;

pub(crate) use client::{Ask, Body, Registry, Round, Source, collect, nothing, place_of, retried};
pub(crate) use fetch::SILENCE_MAX;
pub(crate) use hosts::{Endpoint, Right};

/// Who asks a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// Of an earlier login, in place of the password.
    pub identity_token: String,
    /// Sent as it is.
    pub registry_token: String,
}

/// Who asks, and by which way. None: nobody, and the configured one.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub credentials: Option<Credentials>,
    pub proxies: Option<Proxies>,
    /// Who knows the credentials for a host, in place of `credentials`.
    pub asker: Option<Asker>,
    /// Directories with `<host>/hosts.toml`, in place of the configured ones.
    pub host_directories: Option<Vec<PathBuf>>,
    /// A registry that nothing is known of is spoken to without TLS.
    pub plain_http: bool,
    /// Sent to every host with every request.
    pub headers: Vec<(String, String)>,
    /// Certificates do not matter.
    pub skip_verify: bool,
    /// Files of who may have signed the registry's certificate, besides those that the machine trusts.
    pub authorities: Vec<PathBuf>,
    /// Files of a certificate of ours and its key.
    pub clients: Vec<(PathBuf, PathBuf)>,
}

/// Asks somebody for the credentials of a host (`host`, or `host:port`).
#[derive(Clone)]
pub struct Asker(pub Arc<dyn Fn(String) -> BoxFuture<'static, Option<Credentials>> + Send + Sync>);

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

/// What is known of registries beforehand.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Directories with `<host>/hosts.toml`; the first one that knows a host counts.
    pub host_directories: Vec<PathBuf>,
    /// Hosts (`host`, `host:port`) or prefixes of addresses that may be without TLS, or with any certificate.
    pub insecure: Vec<String>,
    pub proxies: Proxies,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Of all that is shown of oneself.
    pub(crate) fn digest(&self) -> Digest {
        let Credentials { username, password, identity_token, registry_token } = self;
        let parts = [username, password, identity_token, registry_token];
        // The lengths keep one part from passing into the next.
        let text: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        Digest::of(text.as_bytes())
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Credentials::default()
    }
}
