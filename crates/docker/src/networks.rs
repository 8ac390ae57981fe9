//! Networks: making, listing and removing them, and connecting containers.

mod create;
mod describe;

use api::docker::network::{
    NetworkConnectBody, NetworkCreateBody, NetworkCreateResponse, NetworkDisconnectBody, NetworksPruneReport,
};
use engine::networks::NetworkFilter;
use hyper::StatusCode;
use oci::digest::Digest;

use crate::call::Call;
use crate::containers::endpoints;
use crate::error::{Error, Result};
use crate::filters::{Filters, wrong};
use crate::reply::{self, Reply};

/// The only scope that there is without a swarm.
const SCOPE: &str = "local";

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let filters =
        Filters::parse(&call.query, &["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let kind = |kind: &String| match kind.as_str() {
        "builtin" => Ok(true),
        "custom" => Ok(false),
        _ => Err(Error::invalid(format!("invalid filter: 'type'='{kind}'"))),
    };
    let kinds = filters.values("type").iter().map(kind).collect::<Result<Vec<_>>>()?;
    let scopes = filters.values("scope");
    if let Some(odd) = scopes.iter().find(|scope| !["local", "swarm", "global"].contains(&scope.as_str())) {
        return Err(wrong("scope", odd));
    }
    if !scopes.is_empty() && !scopes.iter().any(|scope| scope == SCOPE) {
        return Ok(reply::ok(&Vec::<()>::new()));
    }
    let filter = NetworkFilter {
        names: filters.values("name").to_vec(),
        ids: filters.values("id").to_vec(),
        drivers: filters.values("driver").to_vec(),
        labels: filters.labels(),
        dangling: filters.flag("dangling")?,
        // Both kinds are all.
        builtin: kinds.first().copied().filter(|first| kinds.iter().all(|kind| kind == first)),
    };
    let networks = call.engine.networks().list(&filter).await?;
    Ok(reply::ok(&networks.iter().map(describe::without_members).collect::<Vec<_>>()))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    if call.query.text("scope").is_some_and(|scope| scope != SCOPE) {
        return Err(Error::NotFound(format!("network {} not found", call.name)));
    }
    Ok(reply::ok(&describe::whole(&call.engine.networks().inspect(&call.name).await?)))
}

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let request = create::read(call.body::<NetworkCreateBody>().await?)?;
    let id = call.engine.networks().create(request).await?;
    Ok(reply::json(StatusCode::CREATED, &NetworkCreateResponse { id, warning: String::new() }))
}

pub(crate) async fn remove(call: Call) -> Result<Reply> {
    call.engine.networks().remove(&call.name).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn prune(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["label", "label!", "until"])?;
    let removed = call.engine.networks().prune(&filters.prune()?).await?;
    Ok(reply::ok(&NetworksPruneReport { networks_deleted: Some(removed).filter(|names| !names.is_empty()) }))
}

pub(crate) async fn connect(mut call: Call) -> Result<Reply> {
    let body: NetworkConnectBody = call.body().await?;
    let endpoint = endpoints::read(&call.name, body.endpoint_config.unwrap_or_default())?;
    call.engine.networks().connect(&call.name, &body.container, endpoint).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(crate) async fn disconnect(mut call: Call) -> Result<Reply> {
    let body: NetworkDisconnectBody = call.body().await?;
    call.engine.networks().disconnect(&call.name, &body.container, body.force).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// The id of `host` and `none`: the same on every machine and after every start.
pub(crate) fn builtin_id(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().to_owned()
}
