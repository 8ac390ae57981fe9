//! The table of endpoints: method and path to handler.

use hyper::{Method, StatusCode};

use crate::answer::{Answer, Failure};
use crate::request::Request;
use crate::{containers, events, exec, images, networks, system, volumes};

/// Endpoints of Docker's that exist there and not here yet, by the first part of their path.
const NOT_YET: [&str; 7] = ["build", "commit", "auth", "distribution", "session", "grpc", "plugins"];

/// Endpoints that only a member of a swarm has.
const SWARM: [&str; 6] = ["swarm", "nodes", "services", "tasks", "secrets", "configs"];

/// Finds the handler and runs it.
pub(crate) async fn route(request: Request) -> Answer {
    let path = request.path.clone();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = request.method.clone();
    match (method.as_str(), path.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => system::ping(),
        ("GET", ["version"]) => system::version(&request),
        ("GET", ["info"]) => system::info(&request).await,
        ("GET", ["events"]) => events::events(&request),
        (_, ["images", rest @ ..]) => route_images(&method, rest, request).await,
        (_, ["containers", rest @ ..]) => route_containers(&method, rest, request).await,
        ("GET", ["exec", id, "json"]) => exec::inspect(&request, id).await,
        ("POST", ["exec", id, "start"]) => exec::start(request, id).await,
        ("POST", ["exec", id, "resize"]) => exec::resize(&request, id).await,
        ("GET", ["volumes"]) => volumes::list(&request).await,
        ("POST", ["volumes", "create"]) => volumes::create(request).await,
        ("POST", ["volumes", "prune"]) => volumes::prune(&request).await,
        ("GET", ["volumes", name]) => volumes::inspect(&request, name).await,
        ("DELETE", ["volumes", name]) => volumes::remove(&request, name).await,
        ("GET", ["networks"]) => networks::list(),
        ("GET", ["networks", name]) => networks::inspect(name),
        (_, ["networks", ..]) => {
            Err(Failure::not_there_yet("networks other than `none`, `host` and `container:`"))
        }
        (_, [first, ..]) if SWARM.contains(first) => Err(no_swarm()),
        (_, [first, ..]) if NOT_YET.contains(first) => Err(Failure::not_there_yet(&format!("/{first}"))),
        ("GET", ["system", "df"]) => Err(Failure::not_there_yet("/system/df")),
        _ => Err(not_found()),
    }
}

async fn route_images(method: &Method, path: &[&str], request: Request) -> Answer {
    match (method.as_str(), path) {
        ("GET", ["json"]) => images::list(&request).await,
        ("POST", ["load"]) => images::load(request).await,
        ("POST", ["create"]) => images::create(request).await,
        ("POST", ["prune"]) => images::prune(&request).await,
        ("GET", ["search"]) => Err(Failure::not_there_yet("searching registries")),
        ("GET", ["get"] | [.., "get"]) => Err(Failure::not_there_yet("saving images")),
        ("POST", [.., "push"]) => Err(Failure::not_there_yet("pushing images")),
        // Names of images have slashes.
        ("GET", [name @ .., "json"]) => images::inspect(&request, &name.join("/")).await,
        ("GET", [.., "history"]) => Err(Failure::not_there_yet("the history of images")),
        ("POST", [name @ .., "tag"]) => images::tag(&request, &name.join("/")).await,
        ("DELETE", [_, ..]) => images::remove(&request, &path.join("/")).await,
        _ => Err(not_found()),
    }
}

async fn route_containers(method: &Method, path: &[&str], request: Request) -> Answer {
    match (method.as_str(), path) {
        ("GET", ["json"]) => containers::list(&request).await,
        ("POST", ["create"]) => containers::create(request).await,
        ("POST", ["prune"]) => containers::prune(&request).await,
        ("GET", [id, "json"]) => containers::inspect(&request, id).await,
        ("POST", [id, "start"]) => containers::start(&request, id).await,
        ("POST", [id, "stop"]) => containers::stop(&request, id).await,
        ("POST", [id, "restart"]) => containers::restart(&request, id).await,
        ("POST", [id, "kill"]) => containers::kill(&request, id).await,
        ("POST", [id, "pause"]) => containers::pause(&request, id).await,
        ("POST", [id, "unpause"]) => containers::unpause(&request, id).await,
        ("POST", [id, "rename"]) => containers::rename(&request, id).await,
        ("POST", [id, "resize"]) => containers::resize(&request, id).await,
        ("POST", [id, "wait"]) => containers::wait(&request, id).await,
        ("POST", [id, "attach"]) => containers::attach(request, id).await,
        ("GET", [id, "logs"]) => containers::logs(&request, id).await,
        ("POST", [id, "exec"]) => exec::create(request, id).await,
        ("DELETE", [id]) => containers::remove(&request, id).await,
        (
            "GET" | "HEAD" | "PUT" | "POST",
            [_, verb @ ("archive" | "changes" | "export" | "stats" | "top" | "update")],
        ) => Err(Failure::not_there_yet(&format!("/containers/…/{verb}"))),
        _ => Err(not_found()),
    }
}

fn no_swarm() -> Failure {
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}

fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "page not found")
}
