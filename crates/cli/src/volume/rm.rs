//! `volume rm`: removes volumes.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands, switch};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes. You cannot remove a volume that is in use by a container",
    operands: Operands::at_least(1),
    flags: || vec![switch("force", "Force the removal of one or more volumes").short('f')],
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            let force = given.switch("force").then_some("1");
            client.delete(Path::of("volumes", name, "").query_if("force", force)).await?;
            Ok(name.to_owned())
        })
    },
};
