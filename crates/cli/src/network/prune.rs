//! `network prune`: removes networks that no container uses.

use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::{output, prune};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove all unused networks",
    operands: Operands::NONE,
    flags: || {
        vec![
            filters::flag("Provide filter values (e.g. \"label=<label>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    refused: &[],
    run,
};

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.";

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let filters = Filters::read(given)?;
    if !given.switch("force") && !confirm(WARNING)? {
        return Ok(1);
    }
    let pruned = cli.with_client(async |client| prune::networks(client, &filters).await)?;
    match pruned.text.as_str() {
        "" => Ok(0),
        text => output::print_line(text).map(|()| 0),
    }
}
