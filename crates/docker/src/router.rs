//! From a request to its handler: one flat table.

use std::pin::Pin;
use std::sync::Arc;

use engine::{Engine, Namespace};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, SERVER};

use crate::call::{ApiVersion, Call, MAX_VERSION, MIN_VERSION};
use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::query::{Query, decode};
use crate::reply::Reply;
use crate::unread::Unread;
use crate::{absent, containers, events, execs, images, namespaces, networks, system, volumes};

/// Names a namespace of containerd's.
const NAMESPACE_HEADER: &str = "x-corten-namespace";

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

struct Route {
    method: &'static str,
    /// Segments; `{name}` stands for one segment, `{name..}` for one or more.
    pattern: &'static str,
    handler: Handler,
}

/// A macro because only a closure for each turns an `async fn` into a plain function pointer.
macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path,)*) => {
        &[$(Route { method: stringify!($method), pattern: $pattern, handler: |call| Box::pin($handler(call)) },)*]
    };
}

const ROUTES: &[Route] = routes! {
    GET "/_ping" => system::ping,
    HEAD "/_ping" => system::ping,
    GET "/version" => system::version,
    GET "/info" => system::info,
    GET "/events" => events::stream,
    GET "/system/df" => system::disk::usage,
    POST "/build/prune" => system::disk::prune_builds,

    GET "/images/json" => images::list,
    GET "/images/get" => images::save::several,
    POST "/images/load" => images::load,
    POST "/images/create" => images::create,
    POST "/images/prune" => images::prune,
    GET "/images/{name..}/json" => images::inspect::inspect,
    GET "/images/{name..}/get" => images::save::one,
    GET "/images/{name..}/history" => images::history,
    GET "/images/search" => images::transfer::search,
    POST "/images/{name..}/tag" => images::tag,
    POST "/images/{name..}/push" => images::transfer::push,
    POST "/auth" => images::transfer::login,
    GET "/distribution/{name..}/json" => images::transfer::distribution,
    DELETE "/images/{name..}" => images::remove,

    GET "/containers/json" => containers::list::list,
    POST "/commit" => containers::commit::commit,
    POST "/containers/create" => containers::create::create,
    POST "/containers/prune" => containers::prune,
    GET "/containers/{id}/json" => containers::inspect::inspect,
    GET "/containers/{id}/stats" => containers::stats::stats,
    GET "/containers/{id}/top" => containers::top,
    POST "/containers/{id}/update" => containers::update,
    GET "/containers/{id}/logs" => containers::streams::logs,
    GET "/containers/{id}/archive" => containers::files::archive,
    HEAD "/containers/{id}/archive" => containers::files::stat,
    PUT "/containers/{id}/archive" => containers::files::extract,
    GET "/containers/{id}/changes" => containers::files::changes,
    GET "/containers/{id}/export" => containers::files::export,
    POST "/containers/{id}/attach" => containers::streams::attach,
    GET "/containers/{id}/attach/ws" => containers::streams::attach_websocket,
    POST "/containers/{id}/start" => containers::start,
    POST "/containers/{id}/stop" => containers::stop,
    POST "/containers/{id}/restart" => containers::restart,
    POST "/containers/{id}/kill" => containers::kill,
    POST "/containers/{id}/wait" => containers::wait,
    POST "/containers/{id}/resize" => containers::resize,
    POST "/containers/{id}/rename" => containers::rename,
    POST "/containers/{id}/pause" => containers::pause,
    POST "/containers/{id}/unpause" => containers::unpause,
    DELETE "/containers/{id}" => containers::remove,

    POST "/containers/{id}/exec" => execs::create,
    POST "/exec/{id}/start" => execs::start,
    POST "/exec/{id}/resize" => execs::resize,
    GET "/exec/{id}/json" => execs::inspect,

    GET "/corten/namespaces" => namespaces::list,
    POST "/corten/namespaces" => namespaces::create,
    GET "/corten/namespaces/{name}" => namespaces::inspect,
    POST "/corten/namespaces/{name}/update" => namespaces::update,
    DELETE "/corten/namespaces/{name}" => namespaces::remove,

    GET "/volumes" => volumes::list,
    POST "/volumes/create" => volumes::create,
    POST "/volumes/prune" => volumes::prune,
    GET "/volumes/{name}" => volumes::inspect,
    DELETE "/volumes/{name}" => volumes::remove,
    PUT "/volumes/{name}" => volumes::update,

    GET "/networks" => networks::list,
    POST "/networks/create" => networks::create,
    POST "/networks/prune" => networks::prune,
    GET "/networks/{id}" => networks::inspect,
    DELETE "/networks/{id}" => networks::remove,
    POST "/networks/{id}/connect" => networks::connect,
    POST "/networks/{id}/disconnect" => networks::disconnect,
};

/// Serves one request.
pub(crate) async fn dispatch(
    request: Request<Incoming>,
    engine: Arc<Engine>,
    peer: Arc<Peer>,
) -> Result<Reply> {
    let request = Unread::new(request);
    let (version, path) = split_version(request.uri().path())?;
    let method = request.method().as_str();
    let Some((route, name)) = find(method, path) else {
        return Err(absent::refusal(method, path));
    };
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let engine = engine.within(namespace(request.headers())?);
    let (handler, guests) = (route.handler, engine.guests());
    match handler(Call { engine, peer, version, name, query, request }).await {
        Err(Error::Engine(engine::Error::NoSuchContainer(name))) => Err(guests.explain(name).await.into()),
        answer => answer,
    }
}

/// The namespace that a request is about: ours, because Docker's API has no word for it.
fn namespace(headers: &HeaderMap) -> Result<Namespace> {
    match headers.get(NAMESPACE_HEADER) {
        None => Ok(Namespace::default()),
        Some(value) => {
            let text = value.to_str().map_err(|_| Error::invalid("the namespace's name is not text"))?;
            Ok(Namespace::parse(text)?)
        }
    }
}

/// The headers that every answer has.
pub(crate) fn sign(headers: &mut HeaderMap) {
    let version = HeaderValue::try_from(MAX_VERSION.to_string()).expect("digits and a dot");
    headers.insert("api-version", version);
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers
        .insert(SERVER, HeaderValue::from_static(concat!("Corten/", env!("CARGO_PKG_VERSION"), " (linux)")));
}

/// Takes `/v1.41` off the path.
fn split_version(path: &str) -> Result<(ApiVersion, &str)> {
    let Some(rest) = path.strip_prefix("/v") else { return Ok((MAX_VERSION, path)) };
    let (text, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // `/volumes` and `/version` begin the same way.
    if !text.starts_with(|digit: char| digit.is_ascii_digit()) {
        return Ok((MAX_VERSION, path));
    }
    match ApiVersion::parse(text) {
        None => Err(Error::NoSuchPage),
        Some(version) if version < MIN_VERSION => Err(Error::VersionTooOld(text.to_owned())),
        Some(version) if version > MAX_VERSION => Err(Error::VersionTooNew(text.to_owned())),
        Some(version) => Ok((version, rest)),
    }
}

fn find(method: &str, path: &str) -> Option<(&'static Route, String)> {
    ROUTES
        .iter()
        .filter(|route| route.method == method)
        .find_map(|route| Some((route, matched(route.pattern, path)?)))
}

/// What stands at the pattern's `{…}`, decoded; empty without one. A pattern has at most one.
pub(crate) fn matched(pattern: &str, path: &str) -> Option<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(String::new);
    };
    let (kind, after) = rest.split_once('}')?;
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    let fits = !name.is_empty() && (kind.ends_with("..") || !name.contains('/'));
    fits.then(|| decode(name))
}

#[cfg(test)]
mod tests {
    use super::{find, matched, split_version};
    use crate::call::ApiVersion;

    #[test]
    fn patterns_match_whole_segments() {
        for (pattern, path, want) in [
            ("/_ping", "/_ping", Some("")),
            ("/_ping", "/_ping/", None),
            ("/containers/{id}/json", "/containers/a%20b/json", Some("a b")),
            ("/containers/{id}/json", "/containers//json", None),
            ("/containers/{id}/json", "/containers/a/b/json", None),
            ("/images/{name..}/json", "/images/a/b%2Fc:1/json", Some("a/b/c:1")),
            ("/images/{name..}/json", "/images/json", None),
            ("/containers/{id}", "/containers/", None),
        ] {
            assert_eq!(matched(pattern, path).as_deref(), want, "{pattern} {path}");
        }
    }

    #[test]
    fn lists_come_before_names() {
        assert_eq!(find("GET", "/images/json").unwrap().0.pattern, "/images/json");
        assert_eq!(find("GET", "/images/json/json").unwrap().1, "json");
        assert!(find("PUT", "/images/json").is_none());
    }

    #[test]
    fn version_prefixes_are_checked() {
        let whole = ("/volumes", "/version");
        assert_eq!(split_version(whole.0).unwrap().1, whole.0);
        assert_eq!(split_version(whole.1).unwrap().1, whole.1);
        assert_eq!(split_version("/v1.41/info").unwrap(), (ApiVersion::new(1, 41), "/info"));
        for (path, want) in [
            (
                "/v1.23/info",
                "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
            ),
            ("/v1.52/info", "client version 1.52 is too new. Maximum supported API version is 1.51"),
            ("/v2.0/info", "client version 2.0 is too new. Maximum supported API version is 1.51"),
            ("/v1.x/info", "page not found"),
        ] {
            assert_eq!(split_version(path).unwrap_err().to_string(), want, "{path}");
        }
    }
}
