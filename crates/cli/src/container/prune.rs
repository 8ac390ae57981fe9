//! `container prune`: removes every container that does not run.

use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::prune;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove all stopped containers",
    operands: Operands::NONE,
    flags: || {
        vec![
            filters::flag("Provide filter values (e.g. \"until=<timestamp>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let filters = Filters::read(given)?;
    if !given.switch("force") && !confirm("WARNING! This will remove all stopped containers.")? {
        return Ok(1);
    }
    cli.with_client(async |client| prune::containers(client, &filters).await)?.print().map(|()| 0)
}
