//! `rename`: gives a container another name.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "CONTAINER NEW_NAME",
    about: "Rename a container",
    operands: Operands::exactly(2),
    flags: Vec::new,
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        let path = Path::of("containers", given.operand(), "/rename").query("name", given.operands()[1]);
        cli.with_client(async |client| client.post(path).await).map(|()| 0)
    },
};
