//! `container prune`: removes every container that does not run.

use api::docker::container::ContainersPruneReport;

use crate::client::Path;
use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::{output, size};

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
    let path = filters.apply(Path::new("/containers/prune"));
    let report: ContainersPruneReport = cli.with_client(async |client| client.post_for(path).await)?;
    let mut out = String::new();
    if let Some(deleted) = report.containers_deleted.filter(|deleted| !deleted.is_empty()) {
        out = format!("Deleted Containers:\n{}\n\n", deleted.join("\n"));
    }
    out += &format!("Total reclaimed space: {}\n", size::decimal(report.space_reclaimed));
    output::print(&out).map(|()| 0)
}
