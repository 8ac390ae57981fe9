//! What Docker's API has and this door has not yet, each with a name for the person who asked.

use crate::error::Error;
use crate::router::matched;

/// Pattern of the path, and what it would be.
const ABSENT: &[(&str, &str)] = &[
    ("/build", "building images"),
    ("/build/{rest..}", "building images"),
    ("/grpc", "building images"),
    ("/images/{name..}/attestations", "attestations of images"),
    ("/plugins", "plugins"),
    ("/plugins/{rest..}", "plugins"),
    ("/session", "building images"),
    ("/swarm/{rest..}", "swarm mode"),
];

/// Only managers of a swarm have them.
const OF_SWARMS: &[&str] = &["/swarm", "/services", "/nodes", "/tasks", "/secrets", "/configs"];

/// Why no handler was found.
pub(crate) fn refusal(method: &str, path: &str) -> Error {
    let is_below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let makes_a_swarm = method == "POST" && path.starts_with("/swarm/");
    if OF_SWARMS.iter().any(|root| is_below(root)) && !makes_a_swarm {
        return Error::NoSwarm;
    }
    // What is there for another method is refused as dockerd does it.
    let known_method = matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "DELETE");
    // `docker inspect` asks everywhere for a name, and goes on only where it is told that there is no such thing.
    if let ("GET", Some(name)) = (method, matched("/plugins/{name..}/json", path)) {
        return Error::NotFound(format!("plugin {name:?} not found"));
    }
    match ABSENT.iter().find(|(pattern, _)| known_method && matched(pattern, path).is_some()) {
        Some((_, what)) => Error::not_there_yet(*what),
        None => Error::NoSuchPage,
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn what_is_missing_has_a_name() {
        for (method, path, status, text) in [
            ("POST", "/build", 501, "building images is not there yet"),
            ("POST", "/build/cancel", 501, "building images is not there yet"),
            ("GET", "/images/a/b/attestations", 501, "attestations of images is not there yet"),
            ("POST", "/swarm/init", 501, "swarm mode is not there yet"),
            (
                "GET",
                "/services",
                503,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
            ),
            ("GET", "/plugins/x/json", 404, "plugin \"x\" not found"),
            ("GET", "/servicesx", 404, "page not found"),
            ("GET", "/nonsense", 404, "page not found"),
            ("PATCH", "/build", 404, "page not found"),
            ("GET", "/", 404, "page not found"),
        ] {
            let error = refusal(method, path);
            assert_eq!(
                (error.status().as_u16(), error.to_string().as_str()),
                (status, text),
                "{method} {path}"
            );
        }
    }
}
