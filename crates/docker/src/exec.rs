//! Execs: made under `/containers/{id}/exec`, then at `/exec/{id}`.

use api::docker::IdResponse;
use api::docker::exec::{ExecCreateBody, ExecInspect, ExecProcessConfig, ExecStartBody};
use engine::containers::AttachOptions;
use engine::execs::ExecSpec;
use hyper::StatusCode;

use crate::answer::{self, Answer, Failure};
use crate::containers::console_size;
use crate::detach::DetachKeys;
use crate::hijack::Hijack;
use crate::request::Request;

pub(crate) async fn create(mut request: Request, container: &str) -> Answer {
    let body: ExecCreateBody = request.json().await?;
    let args = body.cmd.map(|command| command.0).unwrap_or_default();
    if args.is_empty() {
        return Err(Failure::bad("No exec command specified"));
    }
    DetachKeys::parse(&body.detach_keys)?;
    let spec = ExecSpec {
        args,
        env: body.env.unwrap_or_default(),
        working_dir: body.working_dir,
        user: body.user,
        terminal: body.tty,
        attach: AttachOptions {
            stdin: body.attach_stdin,
            stdout: body.attach_stdout,
            stderr: body.attach_stderr,
        },
        privileged: body.privileged,
        console_size: console_size(body.console_size)?,
        detach_keys: body.detach_keys,
    };
    let id = request.engine.execs().create(container, spec).await?;
    Ok(answer::json(StatusCode::CREATED, &IdResponse { id }))
}

pub(crate) async fn start(mut request: Request, id: &str) -> Answer {
    let body: ExecStartBody = request.json().await?;
    let execs = request.engine.execs();
    if body.detach {
        execs.start_detached(id).await?;
        return Ok(answer::empty(StatusCode::OK));
    }
    let exec = execs.inspect(id).await?;
    let stream = execs.start(id, console_size(body.console_size)?).await?;
    let detach = exec.spec.terminal.then(|| DetachKeys::parse(&exec.spec.detach_keys)).transpose()?;
    let stdin = exec.spec.attach.stdin;
    Hijack { stream, stdin, detach, head: Vec::new(), is_raw: exec.spec.terminal }.answer(request)
}

pub(crate) async fn inspect(request: &Request, id: &str) -> Answer {
    let exec = request.engine.execs().inspect(id).await?;
    let mut args = exec.spec.args.clone();
    let entrypoint = if args.is_empty() { String::new() } else { args.remove(0) };
    answer::ok(&ExecInspect {
        id: exec.id,
        running: exec.running,
        exit_code: exec.exit_code.map(i64::from),
        process_config: ExecProcessConfig {
            tty: exec.spec.terminal,
            entrypoint,
            arguments: args,
            privileged: Some(exec.spec.privileged),
            user: exec.spec.user.clone(),
        },
        open_stdin: exec.spec.attach.stdin,
        open_stderr: exec.spec.attach.stderr,
        open_stdout: exec.spec.attach.stdout,
        can_remove: !exec.running && exec.exit_code.is_some(),
        container_id: exec.container_id,
        detach_keys: exec.spec.detach_keys.clone(),
        pid: i64::from(exec.pid),
    })
}

pub(crate) async fn resize(request: &Request, id: &str) -> Answer {
    let (height, width) = crate::containers::size(request)?;
    request.engine.execs().resize(id, height, width).await?;
    Ok(answer::empty(StatusCode::OK))
}
