//! `diff`: what a container changed of its image's files.

use api::docker::container::ContainerChange;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    operands: Operands::exactly(1),
    flags: Vec::new,
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        if given.operand().is_empty() {
            return Err(Error::Value("Container name cannot be empty".into()));
        }
        let path = Path::of("containers", given.operand(), "/changes");
        let changes: Option<Vec<ContainerChange>> = cli.with_client(async |client| client.get(path).await)?;
        let letter = |kind| match kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        let changes = changes.unwrap_or_default();
        let lines = changes.iter().map(|change| format!("{} {}\n", letter(change.kind), change.path));
        output::print(&lines.collect::<String>()).map(|()| 0)
    },
};
