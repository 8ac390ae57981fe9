//! `image prune`: removes images that nothing uses.

use api::docker::image::ImagesPruneReport;

use super::rm::lines;
use crate::client::Path;
use crate::command::{Cli, Command, confirm};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::{output, size};

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
    let mut filters = Filters::read(given)?;
    filters.add("dangling", if given.switch("all") { "false" } else { "true" });
    let warning = match given.switch("all") {
        true => "WARNING! This will remove all images without at least one container associated to them.",
        false => "WARNING! This will remove all dangling images.",
    };
    if !given.switch("force") && !confirm(warning)? {
        return Ok(1);
    }
    let path = filters.apply(Path::new("/images/prune"));
    let report: ImagesPruneReport = cli.with_client(async |client| client.post_for(path).await)?;
    let mut out = String::new();
    if let Some(deleted) = report.images_deleted.filter(|deleted| !deleted.is_empty()) {
        out = format!("Deleted Images:\n{}\n", lines(&deleted));
    }
    out += &format!("Total reclaimed space: {}\n", size::decimal(report.space_reclaimed));
    output::print(&out).map(|()| 0)
}
