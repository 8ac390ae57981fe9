//! `image prune`: removes images that nothing uses.

use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::prune;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused images",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused images, not just dangling ones").short('a'),
            filters::flag("Provide filter values (e.g. \"until=<timestamp>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let filters = Filters::read(given)?;
    let all = given.switch("all");
    let warning = match all {
        true => "WARNING! This will remove all images without at least one container associated to them.",
        false => "WARNING! This will remove all dangling images.",
    };
    if !given.switch("force") && !confirm(warning)? {
        return Ok(1);
    }
    cli.with_client(async |client| prune::images(client, &filters, all).await)?.print().map(|()| 0)
}
