//! Registries, seen from a user: who one is there, and through which proxies this shell reaches them.
//!
//! Credentials are in Docker's `config.json` (`$DOCKER_CONFIG`, else `~/.docker`), in the keeping of a helper where it names one. They
//! travel in a header of the one request that needs them.

pub(crate) mod config;
pub(crate) mod helper;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod search;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::json;

use crate::error::Error;
use config::{Config, Login};

/// How Docker's own registry is called in `config.json`.
pub(crate) const INDEX: &str = "https://index.docker.io/v1/";

/// A request's headers.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// The key of an image's registry: `host:port`, or Docker's own.
pub(crate) fn registry_of(image: &str) -> String {
    match image.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => match first {
            "docker.io" | "index.docker.io" => INDEX.to_owned(),
            other => other.to_owned(),
        },
        _ => INDEX.to_owned(),
    }
}

/// What goes along with a request about an image.
pub(crate) fn headers(image: &str) -> Result<Headers, Error> {
    let mut headers = proxy_headers();
    if let Some(login) = Config::load()?.login(&registry_of(image))? {
        headers.push(("x-registry-auth", encode(&login)));
    }
    Ok(headers)
}

/// The proxies of this shell, so that they count for what it asks, whatever the daemon's are.
pub(crate) fn proxy_headers() -> Headers {
    let variable =
        |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let http = variable(["HTTP_PROXY", "http_proxy"]);
    let https = variable(["HTTPS_PROXY", "https_proxy"]);
    let no = variable(["NO_PROXY", "no_proxy"]);
    if http.is_empty() && https.is_empty() && no.is_empty() {
        return Vec::new();
    }
    let proxies = json!({"http": http, "https": https, "no": no});
    vec![("x-corten-proxy", URL_SAFE.encode(proxies.to_string()))]
}

fn encode(login: &Login) -> String {
    let json = match login {
        Login::Password { username, password } => json!({"username": username, "password": password}),
        Login::Token { username, token } => json!({"username": username, "identitytoken": token}),
    };
    URL_SAFE.encode(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::{INDEX, registry_of};

    #[test]
    fn images_belong_to_registries() {
        for (image, registry) in [
            ("busybox", INDEX),
            ("user/app:1", INDEX),
            ("docker.io/library/busybox", INDEX),
            ("localhost/app", "localhost"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000"),
            ("registry.example/a/b@sha256:0", "registry.example"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }
}
