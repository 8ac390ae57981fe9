//! `volume prune`: removes volumes that no container uses.

use api::docker::volume::VolumesPruneReport;

use crate::client::Path;
use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::{output, size};

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
        filters.add("all", "true");
    }
    let kind = if given.switch("all") { "local" } else { "anonymous local" };
    let warning = format!("WARNING! This will remove {kind} volumes not used by at least one container.");
    if !given.switch("force") && !confirm(&warning)? {
        return Ok(1);
    }
    let path = filters.apply(Path::new("/volumes/prune"));
    let report: VolumesPruneReport = cli.with_client(async |client| client.post_for(path).await)?;
    let mut out = String::new();
    if let Some(deleted) = report.volumes_deleted.filter(|deleted| !deleted.is_empty()) {
        out = format!("Deleted Volumes:\n{}\n\n", deleted.join("\n"));
    }
    out += &format!("Total reclaimed space: {}\n", size::decimal(report.space_reclaimed));
    output::print(&out).map(|()| 0)
}
