//! `kill`: sends a signal.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands, value};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    operands: Operands::at_least(1),
    flags: || vec![value("signal", "string", "Signal to send to the container").short('s')],
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            let path = Path::of("containers", name, "/kill").query_if("signal", given.text("signal"));
            client.post(path).await?;
            Ok(name.to_owned())
        })
    },
};
