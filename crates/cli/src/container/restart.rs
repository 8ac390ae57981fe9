//! `restart`: stops containers and starts them again.

use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    operands: Operands::at_least(1),
    flags: super::stop_flags,
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            client.post(super::stop_path(given, name, "/restart")?).await?;
            Ok(name.to_owned())
        })
    },
};
