//! `export`: all files of a container as an archive.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::download::Target;
use crate::flags::{Given, Operands, value};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    operands: Operands::exactly(1),
    flags: || vec![value("output", "string", "Write to a file, instead of STDOUT").short('o')],
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        let target = Target::new(given.text("output").unwrap_or_default(), "export container")?;
        let path = Path::of("containers", given.operand(), "/export");
        cli.with_client(async |client| target.fill(client, path).await).map(|()| 0)
    },
};
