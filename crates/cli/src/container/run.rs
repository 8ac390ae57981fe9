//! `run`: creates a container and starts it, with its streams on ours or in the background.

use api::docker::container::ContainerInspect;
use clap::Arg;

use super::attach::{self, Hold};
use super::create::IdFile;
use super::{attached, create, spec};
use crate::client::{Client, Path};
use crate::command::{Cli, Command};
use crate::error::{Error, NOT_EXECUTABLE, NOT_FOUND, TOOL_FAILED};
use crate::flags::{Given, Operands, switch, value};
use crate::output;
use crate::terminal::{self, DetachKeys};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    operands: Operands::command_line(1),
    flags,
    refused: spec::REFUSED,
    run,
};

fn flags() -> Vec<Arg> {
    let mut flags = spec::flags();
    flags.extend([
        switch("detach", "Run container in background and print container ID").short('d'),
        value("detach-keys", "string", "Override the key sequence for detaching a container"),
        value("pidfile", "string", "Write the id of the container's first process to the file"),
        attach::sig_proxy(),
    ]);
    flags
}

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let run = || {
        let keys = given.parsed("detach-keys", DetachKeys::parse)?;
        let mut request = spec::read(given)?;
        let pid_file = given.text("pidfile").map(|path| IdFile::renew(path.into())).transpose()?;
        cli.settings().add_proxies(&cli.host(), &mut request.body.config.env);
        let config = &mut request.body.config;
        if given.switch("detach") {
            if !given.list("attach").is_empty() {
                return Err(Error::Conflict("cannot specify both --attach and --detach"));
            }
            return cli.with_client(async |client| run_detached(client, request, pid_file).await);
        }
        let attached = attached::read(given)?;
        if config.tty && attached.stdin && !terminal::is_input() {
            return Err(Error::NotATerminal);
        }
        attached.tell(config);
        let hold = Hold {
            has_terminal: config.tty,
            output: attached,
            input: (config.open_stdin && attached.stdin).then_some(keys.unwrap_or_default()),
            detach_keys: given.text("detach-keys"),
            proxies: attach::proxies(given),
            condition: Some(if request.body.host_config.auto_remove { "removed" } else { "next-exit" }),
        };
        cli.with_client(async |client| {
            let id = create::create(client, request).await?;
            if attached.is_silent() {
                // As Docker: whoever sees nothing of the container gets its id, and does not learn how it ends.
                output::print_line(&id)?;
                return attach::hold(client, &id, hold, start_telling(client, &id, pid_file))
                    .await
                    .map(|_| 0);
            }
            attach::hold(client, &id, hold, start_telling(client, &id, pid_file)).await
        })
    };
    run().map_err(|error: Error| error.exiting(TOOL_FAILED))
}

async fn run_detached(
    client: &Client,
    request: spec::Request,
    pid_file: Option<IdFile>,
) -> Result<u8, Error> {
    let id = create::create(client, request).await?;
    start_telling(client, &id, pid_file).await?;
    output::print_line(&id)?;
    Ok(0)
}

/// Starts a container and writes which process it is. One that has ended already is none.
async fn start_telling(client: &Client, id: &str, pid_file: Option<IdFile>) -> Result<(), Error> {
    start(client, id).await?;
    let Some(file) = pid_file else { return Ok(()) };
    let started: ContainerInspect = client.get(Path::of("containers", id, "/json")).await?;
    match started.state.pid {
        0 => Ok(()),
        pid => file.write(&pid.to_string()),
    }
}

/// Starts a container; the exit code of a failure tells what was wrong with its command.
pub(crate) async fn start(client: &Client, id: &str) -> Result<(), Error> {
    client.post(Path::of("containers", id, "/start")).await.map_err(|error| match &error {
        Error::Daemon { message, .. } => {
            let code = failed_start(message);
            error.exiting(code)
        }
        _ => error,
    })
}

/// Docker tells by the daemon's words why a command could not be started.
pub(crate) fn failed_start(message: &str) -> u8 {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["executable file not found", "no such file or directory"]) {
        NOT_FOUND
    } else if says(&["permission denied", "is a directory"]) {
        NOT_EXECUTABLE
    } else {
        TOOL_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::failed_start;

    #[test]
    fn the_daemons_words_tell_the_exit_code() {
        let cases = [
            ("exec: \"foo\": executable file not found in $PATH", 127),
            ("exec: \"/x\": stat /x: no such file or directory", 127),
            ("exec: \"/etc\": is a directory: permission denied", 126),
            ("exec /data/script: Permission denied", 126),
            ("unknown user nobody2", 125),
        ];
        for (message, code) in cases {
            assert_eq!(failed_start(message), code, "{message}");
        }
    }
}
