//! Containers: the requests that change one, and the wait for its end.

pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod endpoints;
pub(crate) mod files;
pub(crate) mod guest;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod resources;
mod security;
pub(crate) mod stats;
pub(crate) mod streams;

use api::docker::container::{ContainersPruneReport, TopResponse, UpdateResponse, WaitError, WaitResponse};
use api::docker::host_config::HostConfig;
use engine::containers::{RemoveOptions, WaitCondition};
use futures_util::{FutureExt, stream};
use hyper::StatusCode;

use crate::call::Call;
use crate::containers::guest::or_guest;
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};

pub(crate) async fn start(mut call: Call) -> Result<Reply> {
    call.query.refuse(&["checkpoint", "checkpoint-dir"])?;
    // Clients of old send a `HostConfig` here; dockerd refuses it since API 1.24.
    if let Some(body) = call.optional_body::<serde_json::Value>().await?
        && body.as_object().is_none_or(|object| !object.is_empty())
    {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let started = call.engine.containers().start(&call.name).await?;
    Ok(reply::empty(if started { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }))
}

pub(crate) async fn stop(call: Call) -> Result<Reply> {
    let (timeout_s, signal) = (call.query.number("t")?, call.query.text("signal"));
    let own = call.engine.containers().stop(&call.name, timeout_s, signal).await;
    let stopped =
        or_guest(&call.engine, &call.name, own, async |guest| guest.stop(timeout_s, signal).await).await?;
    Ok(reply::empty(if stopped { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }))
}

pub(crate) async fn restart(call: Call) -> Result<Reply> {
    let (timeout_s, signal) = (call.query.number("t")?, call.query.text("signal"));
    call.engine.containers().restart(&call.name, timeout_s, signal).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn kill(call: Call) -> Result<Reply> {
    let signal = call.query.text("signal").unwrap_or_default();
    let own = call.engine.containers().kill(&call.name, signal).await;
    let killed = or_guest(&call.engine, &call.name, own, async |guest| guest.kill(signal).await).await;
    killed.map_err(|error| match error {
        engine::Error::NoSuchContainer(_) => {
            Error::NotFound(format!("cannot kill container: {}: {error}", call.name))
        }
        error => Error::from(error),
    })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn pause(call: Call) -> Result<Reply> {
    let own = call.engine.containers().pause(&call.name).await;
    or_guest(&call.engine, &call.name, own, async |guest| guest.pause().await).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn unpause(call: Call) -> Result<Reply> {
    let own = call.engine.containers().unpause(&call.name).await;
    or_guest(&call.engine, &call.name, own, async |guest| guest.unpause().await).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn rename(call: Call) -> Result<Reply> {
    let name =
        call.query.text("name").ok_or_else(|| Error::invalid("Neither old nor new names may be empty"))?;
    let name = name.strip_prefix('/').unwrap_or(name);
    call.engine.containers().rename(&call.name, name).await.map_err(|error| match error {
        engine::Error::NameInUse { .. } => {
            Error::Conflict(format!("Error when allocating new name: {error}"))
        }
        error => Error::from(error),
    })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn resize(call: Call) -> Result<Reply> {
    let (height, width) = terminal_size(&call)?;
    call.engine.containers().resize(&call.name, height, width).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `h` and `w`, which a resize must have.
pub(crate) fn terminal_size(call: &Call) -> Result<(u16, u16)> {
    let size = |name| {
        call.query
            .number(name)?
            .ok_or_else(|| Error::invalid(format!("invalid resize: the parameter `{name}` is missing")))
    };
    Ok((size("h")?, size("w")?))
}

pub(crate) async fn remove(call: Call) -> Result<Reply> {
    if call.query.flag("link") {
        return Err(Error::not_there_yet("removing links (`--link`)"));
    }
    let options = RemoveOptions { force: call.query.flag("force"), volumes: call.query.flag("v") };
    let own = call.engine.containers().remove(&call.name, options).await;
    or_guest(&call.engine, &call.name, own, async |guest| guest.remove(options).await).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// The container's processes as ps(1) shows them.
pub(crate) async fn top(call: Call) -> Result<Reply> {
    let arguments = call.query.text("ps_args").unwrap_or_default();
    let own = call.engine.containers().top(&call.name, arguments).await;
    let table = or_guest(&call.engine, &call.name, own, async |guest| guest.top(arguments).await).await?;
    Ok(reply::ok(&TopResponse { titles: table.titles, processes: table.rows }))
}

/// Other limits and another restart policy; what is not named stays as it is.
pub(crate) async fn update(mut call: Call) -> Result<Reply> {
    let body: HostConfig = call.body().await?;
    let changes = host::read_changes(&body)?;
    let warnings = call.engine.containers().update(&call.name, changes).await?;
    Ok(reply::ok(&UpdateResponse { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()) }))
}

pub(crate) async fn prune(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["label", "label!", "until"])?;
    let (removed, reclaimed_bytes) = call.engine.containers().prune(&filters.prune()?).await?;
    Ok(reply::ok(&ContainersPruneReport {
        containers_deleted: Some(removed).filter(|ids| !ids.is_empty()),
        space_reclaimed: i64::try_from(reclaimed_bytes).unwrap_or(i64::MAX),
    }))
}

/// The headers go out when the wait has begun, so a client may start the container then and misses nothing.
pub(crate) async fn wait(call: Call) -> Result<Reply> {
    let condition = match call.query.text("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => return Err(Error::invalid(format!("invalid condition: {other:?}"))),
    };
    let own = call.engine.containers().wait(&call.name, condition).await.map(FutureExt::boxed);
    let exit =
        or_guest(&call.engine, &call.name, own, async |guest| guest.wait(condition).map(FutureExt::boxed))
            .await?;
    let peer = call.peer;
    Ok(reply::json_stream(stream::once(async move {
        tokio::select! {
            exit = exit => {
                // Who waits for an exit to come starts the container, and hears from the start why that failed;
                // Docker's clients would print it twice. What is left is a daemon that ends.
                let is_told = condition != WaitCondition::NotRunning && exit.code != 0;
                let error = exit.error.filter(|_| !is_told).map(|message| WaitError { message });
                reply::line(&WaitResponse { status_code: exit.code.into(), error })
            }
            () = peer.gone() => bytes::Bytes::new(),
        }
    })))
}
