//! `top`: the processes of a container.

use api::docker::container::TopResponse;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::{output, table};

pub(crate) const COMMAND: Command = Command {
    synopsis: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    operands: Operands::command_line(1),
    flags: Vec::new,
    refused: &[],
    run,
};

/// Docker's spacing of this one table.
const SPACING: table::Spacing = table::Spacing { least: 20, padding: 3 };

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let words = given.operands();
    let (container, options) = words.split_first().expect("one operand was counted");
    let options = options.join(" ");
    let path = Path::of("containers", container, "/top")
        .query_if("ps_args", Some(options.as_str()).filter(|options| !options.is_empty()));
    let found: TopResponse = cli.with_client(async |client| client.get(path).await)?;
    let lines = [found.titles].into_iter().chain(found.processes);
    let text: String = lines.map(|cells| cells.join("\t") + "\n").collect();
    output::print(&table::align(&text, SPACING)).map(|()| 0)
}
