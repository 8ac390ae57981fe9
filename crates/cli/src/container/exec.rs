//! `exec`: another process in a running container.

use api::docker::exec::{ExecCreateBody, ExecStartBody};
use api::docker::{Command as Words, IdResponse};
use serde::Deserialize;

use super::environment;
use super::run::failed_start;
use crate::attach::{End, Foreground, Process, Streams, Wiring, resize};
use crate::client::{Body, Client, Path};
use crate::command::{Cli, Command};
use crate::error::{Error, TOOL_FAILED};
use crate::flags::{Given, Operands, list, switch, value};
use crate::terminal::{self, DetachKeys, Raw};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    operands: Operands::command_line(2),
    flags: || {
        vec![
            switch("detach", "Detached mode: run command in the background").short('d'),
            value("detach-keys", "string", "Override the key sequence for detaching a container"),
            list("env", "list", "Set environment variables").short('e'),
            list("env-file", "list", "Read in a file of environment variables"),
            switch("interactive", "Keep STDIN open even if not attached").short('i'),
            switch("privileged", "Give extended privileges to the command"),
            switch("tty", "Allocate a pseudo-TTY").short('t'),
            value("user", "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
            value("workdir", "string", "Working directory inside the container").short('w'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let keys = given.parsed("detach-keys", DetachKeys::parse)?.unwrap_or_default();
    let request = request(given)?;
    if request.tty && request.attach_stdin && !terminal::is_input() {
        return Err(Error::NotATerminal);
    }
    cli.with_client(async |client| {
        let path = Path::of("containers", given.operand(), "/exec");
        let exec: IdResponse = client.post_json(path, &request).await?;
        let begin =
            ExecStartBody { detach: request.detach, tty: request.tty, console_size: request.console_size };
        if begin.detach {
            client.send_json(Path::of("exec", &exec.id, "/start"), &begin).await.map_err(failed)?;
            return Ok(0);
        }
        hold(client, &exec.id, &begin, request.attach_stdin.then_some(keys)).await
    })
}

fn request(given: &Given) -> Result<ExecCreateBody, Error> {
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    let (detach, tty) = (given.switch("detach"), given.switch("tty"));
    let command: Vec<String> = given.operands()[1..].iter().map(|word| (*word).to_owned()).collect();
    Ok(ExecCreateBody {
        user: text("user"),
        privileged: given.switch("privileged"),
        tty,
        console_size: terminal::size().filter(|_| tty).map(|(height, width)| [height.into(), width.into()]),
        attach_stdin: given.switch("interactive") && !detach,
        attach_stdout: !detach,
        attach_stderr: !detach,
        detach,
        detach_keys: text("detach-keys"),
        env: Some(environment::read(given)?).filter(|variables| !variables.is_empty()),
        working_dir: text("workdir"),
        cmd: Some(Words(command)),
    })
}

/// What of an exec's inspect is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended {
    exit_code: Option<i64>,
}

/// Starts the process with its streams on ours; returns its exit code.
async fn hold(
    client: &Client,
    id: &str,
    begin: &ExecStartBody,
    input: Option<DetachKeys>,
) -> Result<u8, Error> {
    let process = Process::Exec(id);
    let has_terminal = begin.tty;
    let foreground = Foreground::new(client, process, has_terminal, false)?;
    let connection =
        client.hijack(Path::of("exec", id, "/start"), Body::json(begin)).await.map_err(failed)?;
    let raw = (has_terminal && input.is_some()).then(Raw::enter).transpose().map_err(Error::Input)?;
    let streams = Streams::start(connection, Wiring { has_terminal, input });
    let work = async {
        if has_terminal {
            resize(client, process).await;
        }
        if streams.end().await? == End::Detached {
            return Ok(0);
        }
        let exec: Ended = client.get(Path::of("exec", id, "/json")).await?;
        Ok(exec.exit_code.unwrap_or(0).to_le_bytes()[0])
    };
    let result = foreground.during(work).await;
    drop(raw);
    result
}

/// A command that cannot be executed has an exit code of its own; every other failure is 1.
fn failed(error: Error) -> Error {
    match &error {
        Error::Daemon { message, .. } => match failed_start(message) {
            TOOL_FAILED => error,
            code => error.exiting(code),
        },
        _ => error,
    }
}
