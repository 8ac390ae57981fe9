//! Execs: further processes in a running container.

use api::docker::IdResponse;
use api::docker::exec::{ExecCreateBody, ExecInspect, ExecProcessConfig, ExecStartBody};
use engine::containers::AttachOptions;
use engine::execs::{Exec, ExecSpec};
use hyper::StatusCode;

use crate::call::Call;
use crate::containers::terminal_size;
use crate::detach::DetachFilter;
use crate::error::{Error, Result};
use crate::hijack::{self, Input};
use crate::reply::{self, Reply};
use crate::{frames, hijack::Client};

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: ExecCreateBody = call.body().await?;
    let args = body.cmd.unwrap_or_default().0;
    if args.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    // Wrong keys are told now, while somebody can still type others.
    DetachFilter::new(Some(body.detach_keys.as_str()).filter(|keys| !keys.is_empty()))?;
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
        console_size: body.console_size.and_then(console_size),
        detach_keys: body.detach_keys,
    };
    let id = call.engine.execs().create(&call.name, spec).await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

pub(crate) async fn start(mut call: Call) -> Result<Reply> {
    let body: ExecStartBody = call.body().await?;
    let execs = call.engine.execs();
    if body.detach {
        execs.start_detached(&call.name).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    let exec = execs.inspect(&call.name).await?;
    if exec.running {
        return Err(Error::Conflict(format!("Error: Exec command {} is already running", exec.id)));
    }
    if exec.exit_code.is_some() {
        return Err(Error::Conflict(format!("Error: Exec command {} has already run", exec.id)));
    }
    let spec = exec.spec.clone();
    let input = match DetachFilter::new(Some(spec.detach_keys.as_str()).filter(|keys| !keys.is_empty()))? {
        _ if !spec.attach.stdin => Input::Unread,
        keys if spec.terminal => Input::Terminal(keys),
        _ => Input::Ends,
    };
    let kind = hijack::content_type(&call, spec.terminal);
    let size = body.console_size.and_then(console_size);
    Ok(hijack::hijack(call, kind, async move |mut client: Client| match execs.start(&exec.id, size).await {
        Ok(streams) => client.join(streams, input).await,
        // As dockerd: the connection is the session already, and the exit code is found by an inspect.
        Err(error) => {
            let text = format!("{}\r\n", error.chain());
            let text =
                if spec.terminal { text.into() } else { frames::frame(frames::STDOUT, text.as_bytes()) };
            client.write(text).await;
            client.close().await;
        }
    }))
}

pub(crate) async fn resize(call: Call) -> Result<Reply> {
    let (height, width) = terminal_size(&call)?;
    call.engine.execs().resize(&call.name, height, width).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let exec = call.engine.execs().inspect(&call.name).await?;
    Ok(reply::ok(&describe(&exec)))
}

fn describe(exec: &Exec) -> ExecInspect {
    let spec = &exec.spec;
    let (entrypoint, arguments) = spec
        .args
        .split_first()
        .map_or((String::new(), vec![]), |(first, rest)| (first.clone(), rest.to_vec()));
    ExecInspect {
        id: exec.id.clone(),
        running: exec.running,
        exit_code: exec.exit_code.map(i64::from),
        process_config: ExecProcessConfig {
            tty: spec.terminal,
            entrypoint,
            arguments,
            privileged: Some(spec.privileged),
            user: spec.user.clone(),
        },
        open_stdin: spec.attach.stdin,
        open_stderr: spec.attach.stderr,
        open_stdout: spec.attach.stdout,
        can_remove: exec.exit_code.is_some(),
        container_id: exec.container_id.clone(),
        // Go reads base64 here; no client shows it.
        detach_keys: String::new(),
        pid: exec.pid.into(),
    }
}

/// Height and width; `[0, 0]` is none.
pub(crate) fn console_size(size: [u32; 2]) -> Option<(u16, u16)> {
    let [height, width] = size.map(|cells| u16::try_from(cells).ok());
    height.zip(width).filter(|&size| size != (0, 0))
}
