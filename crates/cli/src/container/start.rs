//! `start`: starts containers that were made, or have ended; with `-a` or `-i` one of them in the foreground.

use super::Container;
use super::attach::{self, Hold};
use super::attached::Attached;
use crate::client::{Client, Path};
use crate::command::{Cli, Command};
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};
use crate::terminal::{self, DetachKeys};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
            value("detach-keys", "string", "Override the key sequence for detaching a container"),
            switch("interactive", "Attach container's STDIN").short('i'),
        ]
    },
    refused: &[("checkpoint", None), ("checkpoint-dir", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let keys = given.parsed("detach-keys", DetachKeys::parse)?.unwrap_or_default();
    if !given.switch("attach") && !given.switch("interactive") {
        return each(cli, given, async |client, name| {
            client.post(Path::of("containers", name, "/start")).await?;
            Ok(name.to_owned())
        });
    }
    if given.operands().len() > 1 {
        return Err(Error::Conflict("you cannot start and attach multiple containers at once"));
    }
    cli.with_client(async |client| start_attached(client, given, keys).await)
}

async fn start_attached(client: &Client, given: &Given, keys: DetachKeys) -> Result<u8, Error> {
    let container = Container::find(client, given.operand()).await?;
    let has_input = given.switch("interactive") && container.config.open_stdin;
    if has_input && container.config.tty && !terminal::is_input() {
        return Err(Error::NotATerminal);
    }
    let hold = Hold {
        has_terminal: container.config.tty,
        output: Attached::OUTPUT,
        input: has_input.then_some(keys),
        detach_keys: given.text("detach-keys"),
        proxies: true,
        condition: Some(if container.host_config.auto_remove { "removed" } else { "next-exit" }),
    };
    attach::hold(client, &container.id, hold, super::run::start(client, &container.id)).await
}
