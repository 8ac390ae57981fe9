//! `network prune`: removes networks that no container uses.

use api::docker::network::NetworksPruneReport;

use crate::client::Path;
use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::output;

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
    let path = filters.apply(Path::new("/networks/prune"));
    let report: NetworksPruneReport = cli.with_client(async |client| client.post_for(path).await)?;
    match report.networks_deleted.filter(|names| !names.is_empty()) {
        Some(names) => output::print(&format!("Deleted Networks:\n{}\n\n", names.join("\n"))).map(|()| 0),
        None => Ok(0),
    }
}
