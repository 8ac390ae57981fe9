//! `volume prune`: removes volumes that no container uses.

use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::prune;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Remove unused local volumes",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
            filters::flag("Provide filter values (e.g. \"label=<label>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let mut filters = Filters::read(given)?;
    if given.switch("all") {
        if filters.has("all") {
            return Err(Error::Value(
                "conflicting options: cannot specify both --all and --filter all=1".into(),
            ));
        }
        filters.add("all", "true");
    }
    let kind = if given.switch("all") { "local" } else { "anonymous local" };
    let warning = format!("WARNING! This will remove {kind} volumes not used by at least one container.");
    if !given.switch("force") && !confirm(&warning)? {
        return Ok(1);
    }
    cli.with_client(async |client| prune::volumes(client, &filters).await)?.print().map(|()| 0)
}
