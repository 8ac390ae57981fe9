//! `/containers`.

mod create;
mod list;
mod logs;
pub(crate) mod show;
mod summary;

use api::docker::container::{ContainersPruneReport, CreateResponse, WaitError, WaitResponse};
use engine::containers::{AttachOptions, RemoveOptions, WaitCondition};
use hyper::StatusCode;

pub(crate) use list::list;
pub(crate) use logs::logs;

use crate::answer::{self, Answer, Failure};
use crate::detach::DetachKeys;
use crate::hijack::Hijack;
use crate::request::{Request, labels};

/// Terminals have at most so many rows and columns (`struct winsize`).
const MAX_SIZE: u32 = u16::MAX as u32;

pub(crate) async fn create(mut request: Request) -> Answer {
    let body = request.json().await?;
    let name = request.query("name").map(str::to_owned);
    if let Some(platform) = request.query("platform")
        && platform != create::own_platform()
    {
        return Err(Failure::not_there_yet(&format!("platform {platform} on this machine")));
    }
    let (spec, mut warnings) = create::spec(body)?;
    let created = request.engine.containers().create(name.as_deref(), spec).await?;
    warnings.extend(created.warnings);
    Ok(answer::json(StatusCode::CREATED, &CreateResponse { id: created.id, warnings }))
}

pub(crate) async fn inspect(request: &Request, id: &str) -> Answer {
    let containers = request.engine.containers();
    let container = containers.inspect(id).await?;
    let usage = if request.flag("size") { Some(containers.usage(id).await?) } else { None };
    answer::ok(&show::inspect(container, usage))
}

pub(crate) async fn start(request: &Request, id: &str) -> Answer {
    if request.query("checkpoint").is_some() {
        return Err(Failure::not_there_yet("starting from a checkpoint"));
    }
    answer::done(request.engine.containers().start(id).await?)
}

pub(crate) async fn stop(request: &Request, id: &str) -> Answer {
    let timeout = request.number("t")?;
    answer::done(request.engine.containers().stop(id, timeout, request.query("signal")).await?)
}

pub(crate) async fn restart(request: &Request, id: &str) -> Answer {
    let timeout = request.number("t")?;
    request.engine.containers().restart(id, timeout, request.query("signal")).await?;
    answer::done(true)
}

pub(crate) async fn kill(request: &Request, id: &str) -> Answer {
    request.engine.containers().kill(id, request.query("signal").unwrap_or_default()).await?;
    answer::done(true)
}

pub(crate) async fn pause(request: &Request, id: &str) -> Answer {
    request.engine.containers().pause(id).await?;
    answer::done(true)
}

pub(crate) async fn unpause(request: &Request, id: &str) -> Answer {
    request.engine.containers().unpause(id).await?;
    answer::done(true)
}

pub(crate) async fn rename(request: &Request, id: &str) -> Answer {
    let name = request.query("name").ok_or_else(|| Failure::bad("Neither old nor new names may be empty"))?;
    request.engine.containers().rename(id, name).await?;
    answer::done(true)
}

pub(crate) async fn resize(request: &Request, id: &str) -> Answer {
    let (height, width) = size(request)?;
    request.engine.containers().resize(id, height, width).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub(crate) async fn remove(request: &Request, id: &str) -> Answer {
    if request.flag("link") {
        return Err(Failure::not_there_yet("links"));
    }
    let options = RemoveOptions { force: request.flag("force"), volumes: request.flag("v") };
    request.engine.containers().remove(id, options).await?;
    answer::done(true)
}

pub(crate) async fn prune(request: &Request) -> Answer {
    let mut filters = request.filters(&["label"])?;
    let labels = labels(&filters.remove("label").unwrap_or_default());
    let (ids, bytes) = request.engine.containers().prune(&labels).await?;
    answer::ok(&ContainersPruneReport {
        containers_deleted: (!ids.is_empty()).then_some(ids),
        space_reclaimed: i64::try_from(bytes).unwrap_or(i64::MAX),
    })
}

/// The head goes out at once: the client knows then that an exit that comes after it will not be missed.
pub(crate) async fn wait(request: &Request, id: &str) -> Answer {
    let condition = match request.query("condition").unwrap_or("not-running") {
        "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Failure::bad(format!("invalid condition: \"{other}\""))),
    };
    let exit = request.engine.containers().wait(id, condition).await?;
    let (sender, response) = answer::stream("application/json");
    tokio::spawn(async move {
        let exit = tokio::select! {
            exit = exit => exit,
            () = sender.closed() => return,
        };
        let document = WaitResponse {
            status_code: i64::from(exit.code),
            error: exit.error.map(|message| WaitError { message }),
        };
        // A client that has gone does not need to know.
        drop(sender.send(answer::line(&document)).await);
    });
    Ok(response)
}

pub(crate) async fn attach(request: Request, id: &str) -> Answer {
    let detach_keys = DetachKeys::parse(request.query("detachKeys").unwrap_or_default())?;
    let containers = request.engine.containers();
    let container = containers.inspect(id).await?;
    let is_raw = container.spec.terminal;
    let options = AttachOptions {
        stdin: request.flag("stdin"),
        stdout: request.flag("stdout"),
        stderr: request.flag("stderr"),
    };
    let stream = containers.attach(id, options).await?;
    let head =
        if request.flag("logs") { logs::so_far(&request, id, is_raw, options).await? } else { Vec::new() };
    let detach = is_raw.then_some(detach_keys);
    Hijack { stream, stdin: options.stdin, detach, head, is_raw }.answer(request)
}

/// The size of a terminal in the query: height and width.
pub(crate) fn size(request: &Request) -> Result<(u16, u16), Failure> {
    let side = |name: &str| -> Result<u16, Failure> {
        request.number(name)?.ok_or_else(|| Failure::bad(format!("`{name}` is missing")))
    };
    Ok((side("h")?, side("w")?))
}

/// The size of a terminal in a document; zero by zero is none.
pub(crate) fn console_size(size: Option<[u32; 2]>) -> Result<Option<(u16, u16)>, Failure> {
    let Some([height, width]) = size.filter(|size| *size != [0, 0]) else { return Ok(None) };
    if height > MAX_SIZE || width > MAX_SIZE {
        return Err(Failure::bad(format!("invalid console size: {height} by {width}")));
    }
    let narrow = |side: u32| u16::try_from(side).expect("it is bounded above");
    Ok(Some((narrow(height), narrow(width))))
}
