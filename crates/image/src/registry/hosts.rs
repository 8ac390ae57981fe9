//! Where a registry's content may be had: `hosts.toml` of containerd, Docker's `certs.d`, or the registry alone.
//!
//! ```text
//! <directory>/<host>_<port>_ , <host>:<port> , <host> , _default      the first that is there
//!   hosts.toml                  mirrors in the order of the file, then `server`
//!   *.crt, *.cert and *.key     without hosts.toml: an authority, a certificate of ours and its key
//! ```
//!
//! See <https://github.com/containerd/containerd/blob/main/docs/hosts.md>. Parsing is pure; what it names is read when it is used.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use serde::Deserialize;
use toml::Table;

use super::failure::Failure;
use super::proxy::split_port;
use super::{Access, Config};

/// A file of mirrors is some lines.
const FILE_MAX_BYTES: u64 = 1 << 20;
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What an endpoint may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Pull,
    Resolve,
    Push,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    /// TLS if it is spoken there.
    Either,
}

/// A host that speaks the distribution protocol.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) scheme: Scheme,
    /// Without brackets and port.
    pub(super) host: String,
    pub(super) port: u16,
    /// What comes before a repository: `/v2`.
    pub(super) path: String,
    pub(super) rights: Vec<Right>,
    pub(super) tls: Tls,
    pub(super) headers: Vec<(String, String)>,
    pub(super) dial_timeout: Duration,
    /// The registry that this is a mirror of.
    pub(super) mirror_of: Option<String>,
}

/// When files were written.
pub(super) type Written = Vec<Option<SystemTime>>;

/// How a certificate is checked, and ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Tls {
    pub(super) authorities: Vec<PathBuf>,
    /// Certificate and key; both may be in one file.
    pub(super) clients: Vec<(PathBuf, PathBuf)>,
    pub(super) skip_verify: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HostTable {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<toml::Value>,
    skip_verify: Option<bool>,
    header: Table,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Endpoint {
    /// `host:port`, as people write it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https | Scheme::Either, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    pub(super) fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Whether it must prove who it is.
    pub(super) fn is_verified(&self) -> bool {
        self.scheme == Scheme::Https && !self.tls.skip_verify
    }
}

// Its headers may be secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("scheme", &self.scheme)
            .field("authority", &self.authority())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// When its files were written; none for one that cannot be looked at.
    pub(super) fn written(&self) -> Written {
        let files = self.clients.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = self.authorities.iter().chain(files);
        files.map(|file| file.metadata().and_then(|data| data.modified()).ok()).collect()
    }
}

/// The endpoints of a registry, in the order in which they are asked.
pub(super) fn endpoints(config: &Config, access: &Access, domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let mut endpoints = configured(config, access, domain)?;
    // What whoever asks says of certificates is for the registry itself: mirrors have theirs in hosts.toml.
    for own in endpoints.iter_mut().filter(|endpoint| endpoint.mirror_of.is_none()) {
        own.tls.skip_verify |= access.skip_verify;
        own.tls.clients.extend_from_slice(&access.clients);
        if !access.authorities.is_empty() && own.scheme != Scheme::Http {
            own.tls.authorities.extend_from_slice(&access.authorities);
            // Who gives an authority wants it asked.
            (own.scheme, own.tls.skip_verify) = (Scheme::Https, access.skip_verify);
        }
    }
    Ok(endpoints)
}

fn configured(config: &Config, access: &Access, domain: &str) -> Result<Vec<Endpoint>, Failure> {
    for root in access.host_directories.as_ref().unwrap_or(&config.host_directories) {
        for name in directory_names(domain) {
            let directory = root.join(name);
            if !directory.is_dir() {
                continue;
            }
            let wrong = |what: String| Failure::Configuration(format!("{}: {what}", directory.display()));
            return match read(&directory.join("hosts.toml")).map_err(|error| wrong(error.to_string()))? {
                Some(text) => parse(&text, &directory, domain, config).map_err(wrong),
                None => Ok(vec![with_certificates(&directory, domain, config)]),
            };
        }
    }
    let own = default_endpoint(config, domain);
    if access.plain_http {
        return Ok(vec![Endpoint { scheme: Scheme::Http, port: split_port(domain).1.unwrap_or(80), ..own }]);
    }
    // Who may do without TLS may also listen at the port of who does.
    let plain = (own.tls.skip_verify && split_port(domain).1.is_none()).then(|| Endpoint {
        scheme: Scheme::Http,
        port: 80,
        ..own.clone()
    });
    Ok([own].into_iter().chain(plain).collect())
}

/// The registry itself, as it is reached when nobody says otherwise.
fn default_endpoint(config: &Config, domain: &str) -> Endpoint {
    // Docker's own registry is not where its name says.
    let authority = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
    let (host, port) = split_port(authority);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_insecure = is_local(bare) || is_listed(config, bare, authority);
    let scheme = match (is_insecure, port) {
        (true, Some(80)) => Scheme::Http,
        (true, Some(443)) | (false, _) => Scheme::Https,
        (true, _) => Scheme::Either,
    };
    Endpoint {
        scheme,
        host: bare.to_owned(),
        port: port.unwrap_or(443),
        path: "/v2".into(),
        rights: vec![Right::Pull, Right::Resolve, Right::Push],
        tls: Tls { skip_verify: is_insecure, ..Tls::default() },
        headers: Vec::new(),
        dial_timeout: DIAL_TIMEOUT,
        mirror_of: None,
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_listed(config: &Config, host: &str, authority: &str) -> bool {
    let address: Option<std::net::IpAddr> = host.parse().ok();
    config.insecure.iter().any(|entry| {
        entry == authority
            || entry == host
            || entry
                .parse::<ipnet::IpNet>()
                .is_ok_and(|prefix| address.is_some_and(|address| prefix.contains(&address)))
    })
}

fn directory_names(domain: &str) -> Vec<String> {
    match split_port(domain) {
        (host, Some(port)) => vec![format!("{host}_{port}_"), domain.to_owned(), "_default".into()],
        (host, None) => vec![host.to_owned(), "_default".into()],
    }
}

/// None: there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::other(format!("hosts.toml has more than {FILE_MAX_BYTES} bytes")));
    }
    Ok(Some(text))
}

/// Docker's layout: certificates beside each other.
fn with_certificates(directory: &Path, domain: &str, config: &Config) -> Endpoint {
    let mut endpoint = default_endpoint(config, domain);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    for file in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => endpoint.tls.authorities.push(file),
            Some("cert") => endpoint.tls.clients.push((file.clone(), file.with_extension("key"))),
            _ => {}
        }
    }
    if endpoint.tls != Tls::default()
        && !(endpoint.tls.authorities.is_empty() && endpoint.tls.clients.is_empty())
    {
        // Who gives an authority wants it asked.
        (endpoint.scheme, endpoint.tls.skip_verify) = (Scheme::Https, false);
    }
    endpoint
}

/// The endpoints of a `hosts.toml`.
fn parse(text: &str, directory: &Path, domain: &str, config: &Config) -> Result<Vec<Endpoint>, String> {
    let file: Table = toml::from_str(text).map_err(|error| format!("hosts.toml: {}", error.message()))?;
    let mut endpoints = Vec::new();
    for (url, table) in file.get("host").and_then(toml::Value::as_table).into_iter().flatten() {
        let table: HostTable = table.clone().try_into().map_err(|error| format!("host {url}: {error}"))?;
        endpoints.push(endpoint(url, table, directory, Some(domain))?);
    }
    let server = match file.get("server").and_then(toml::Value::as_str).filter(|server| !server.is_empty()) {
        Some(server) => {
            let mut own = file.clone();
            own.retain(|key, _| key != "host" && key != "server");
            let table: HostTable = own.try_into().map_err(|error| format!("hosts.toml: {error}"))?;
            endpoint(server, table, directory, None)?
        }
        None => default_endpoint(config, domain),
    };
    // A mirror that is the registry itself (to take rights away from it) is not asked again.
    if !endpoints
        .iter()
        .any(|one| (&one.host, one.port, &one.path) == (&server.host, server.port, &server.path))
    {
        endpoints.push(server);
    }
    Ok(endpoints)
}

fn endpoint(
    url: &str,
    table: HostTable,
    directory: &Path,
    mirror_of: Option<&str>,
) -> Result<Endpoint, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some((other, _)) => return Err(format!("host {url}: the scheme `{other}` is not known")),
        None => (Scheme::Https, url),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = split_port(authority);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(format!("host {url}: it has no name"));
    }
    let mut path = format!("/{}", path.trim_matches('/'));
    if !table.override_path && !path.ends_with("/v2") {
        path = format!("{}/v2", path.trim_end_matches('/'));
    }
    let tls = Tls {
        authorities: paths(table.ca.as_ref(), directory),
        clients: clients(table.client.as_ref(), directory).map_err(|what| format!("host {url}: {what}"))?,
        skip_verify: table.skip_verify.unwrap_or(false),
    };
    Ok(Endpoint {
        scheme,
        port: port.unwrap_or(if scheme == Scheme::Http { 80 } else { 443 }),
        host,
        path: path.trim_end_matches('/').to_owned(),
        rights: rights(table.capabilities.as_deref()).map_err(|what| format!("host {url}: {what}"))?,
        tls,
        headers: headers(&table.header).map_err(|what| format!("host {url}: {what}"))?,
        dial_timeout: match table.dial_timeout {
            Some(text) => duration(&text).ok_or_else(|| format!("host {url}: `{text}` is not a duration"))?,
            None => DIAL_TIMEOUT,
        },
        mirror_of: mirror_of.map(str::to_owned),
    })
}

fn rights(words: Option<&[String]>) -> Result<Vec<Right>, String> {
    let Some(words) = words else { return Ok(vec![Right::Pull, Right::Resolve, Right::Push]) };
    let mut rights = Vec::new();
    for word in words {
        match word.as_str() {
            "pull" => rights.push(Right::Pull),
            "resolve" => rights.push(Right::Resolve),
            "push" => rights.push(Right::Push),
            "referrers" => {}
            other => return Err(format!("the capability `{other}` is not known")),
        }
    }
    Ok(rights)
}

fn paths(files: Option<&OneOrMany>, directory: &Path) -> Vec<PathBuf> {
    match files {
        None => Vec::new(),
        Some(OneOrMany::One(file)) => vec![directory.join(file)],
        Some(OneOrMany::Many(files)) => files.iter().map(|file| directory.join(file)).collect(),
    }
}

/// `"both.pem"`, `["a.pem", "b.pem"]` or `[["cert", "key"], …]`.
fn clients(value: Option<&toml::Value>, directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let both = |file: &str| (directory.join(file), directory.join(file));
    let wrong = || "`client` must be files, or pairs of certificate and key".to_owned();
    let one = |value: &toml::Value| match value {
        toml::Value::String(file) => Ok(both(file)),
        toml::Value::Array(pair) => match pair.as_slice() {
            [toml::Value::String(certificate), toml::Value::String(key)] if !key.is_empty() => {
                Ok((directory.join(certificate), directory.join(key)))
            }
            [toml::Value::String(certificate), ..] => Ok(both(certificate)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    };
    match value {
        None => Ok(Vec::new()),
        Some(toml::Value::String(file)) => Ok(vec![both(file)]),
        Some(toml::Value::Array(list)) => list.iter().map(one).collect(),
        Some(_) => Err(wrong()),
    }
}

fn headers(table: &Table) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (name, value) in table {
        let values = match value {
            toml::Value::String(value) => vec![value.clone()],
            toml::Value::Array(values) => {
                values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
            }
            _ => return Err(format!("the header `{name}` must be text")),
        };
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(headers)
}

/// Go's short form with one unit: `3s`, `500ms`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Endpoint>, String> {
        parse(text, Path::new("/certs.d/x"), "registry.example:5000", &Config::default())
    }

    #[test]
    fn mirrors_come_in_the_order_of_the_file_and_the_server_last() {
        let endpoints = parsed(
            r#"
            server = "https://registry.example:5000"
            ca = "ca.pem"
            [host."https://z.example"]
              capabilities = ["pull", "resolve"]
              client = [["c.pem", "k.pem"]]
              dial_timeout = "3s"
            [host."http://a.example:5001/cache/"]
              override_path = true
              skip_verify = true
              [host."http://a.example:5001/cache/".header]
                X-One = "1"
                X-Many = ["2", "3"]
            "#,
        )
        .unwrap();
        let shown: Vec<String> =
            endpoints.iter().map(|one| format!("{}{}", one.authority(), one.path)).collect();
        assert_eq!(shown, ["z.example/v2", "a.example:5001/cache", "registry.example:5000/v2"]);
        assert!(
            !endpoints[0].may(Right::Push)
                && endpoints[0].may(Right::Resolve)
                && endpoints[1].may(Right::Push)
        );
        assert_eq!(endpoints[0].tls.clients, [("/certs.d/x/c.pem".into(), "/certs.d/x/k.pem".into())]);
        assert_eq!((endpoints[0].dial_timeout, endpoints[1].scheme), (Duration::from_secs(3), Scheme::Http));
        assert_eq!(endpoints[1].headers.len(), 3);
        assert_eq!(endpoints[2].tls.authorities, [PathBuf::from("/certs.d/x/ca.pem")]);
        assert_eq!(
            (endpoints[1].mirror_of.as_deref(), endpoints[2].mirror_of.as_deref()),
            (Some("registry.example:5000"), None)
        );
    }

    #[test]
    fn the_registry_is_asked_without_being_named_and_only_once() {
        let endpoints = parsed("[host.\"mirror.example\"]").unwrap();
        assert_eq!(endpoints[1].authority(), "registry.example:5000");
        let endpoints =
            parsed("[host.\"https://registry.example:5000\"]\ncapabilities = [\"pull\"]").unwrap();
        assert_eq!((endpoints.len(), endpoints[0].may(Right::Push)), (1, false));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("[host", "hosts.toml"),
            ("[host.\"ftp://x\"]", "`ftp`"),
            ("[host.\"https://x\"]\ncapabilities = [\"all\"]", "`all`"),
            ("[host.\"https://x\"]\ndial_timeout = \"soon\"", "`soon`"),
            ("[host.\"https://x\"]\nclient = 1", "`client`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_and_listed_hosts_may_do_without_tls() {
        let config =
            Config { insecure: vec!["10.0.0.0/8".into(), "old.example".into()], ..Config::default() };
        for (domain, scheme, port) in [
            ("localhost:5000", Scheme::Either, 5000),
            ("[::1]:5000", Scheme::Either, 5000),
            ("127.0.0.1:80", Scheme::Http, 80),
            ("10.1.1.1:5000", Scheme::Either, 5000),
            ("old.example", Scheme::Either, 443),
            ("registry.example", Scheme::Https, 443),
        ] {
            let endpoint = default_endpoint(&config, domain);
            assert_eq!((endpoint.scheme, endpoint.port), (scheme, port), "{domain}");
            assert_eq!(endpoint.tls.skip_verify, scheme != Scheme::Https);
        }
    }

    #[test]
    fn directories_are_looked_for_as_containerd_does() {
        assert_eq!(directory_names("a.example:5000"), ["a.example_5000_", "a.example:5000", "_default"]);
        assert_eq!(directory_names("a.example"), ["a.example", "_default"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            drop(parsed(&text));
        }
    }
}
