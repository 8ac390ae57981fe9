//! `stop`: asks containers to end, and kills those that do not.

use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    operands: Operands::at_least(1),
    flags: super::stop_flags,
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            client.post(super::stop_path(given, name, "/stop")?).await?;
            Ok(name.to_owned())
        })
    },
};
