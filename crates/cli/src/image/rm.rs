//! `rmi`: takes names off images, and removes those without.

use api::docker::image::ImageDeleteItem;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            switch("force", "Force removal of the image").short('f'),
            switch("no-prune", "Do not delete untagged parents"),
        ]
    },
    refused: &[("platform", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let flag = |name| given.switch(name).then_some("1");
    cli.with_client(async |client| {
        let mut code = 0;
        // One after the other: names of one image depend on each other.
        for name in given.operands() {
            let path = Path::of("images", name, "")
                .query_if("force", flag("force"))
                .query_if("noprune", flag("no-prune"));
            match client.delete(path).await {
                Ok(answer) => {
                    let items: Vec<ImageDeleteItem> =
                        serde_json::from_slice(&answer).map_err(Error::Answer)?;
                    output::print(&lines(&items))?;
                }
                Err(error @ Error::Daemon { .. }) => {
                    let is_fine = error.is_not_found() && given.switch("force");
                    cli.complain(&error);
                    code = if is_fine { code } else { 1 };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(code)
    })
}

/// A line for each step.
fn lines(items: &[ImageDeleteItem]) -> String {
    let line = |item: &ImageDeleteItem| match item.deleted.as_str() {
        "" => format!("Untagged: {}\n", item.untagged),
        deleted => format!("Deleted: {deleted}\n"),
    };
    items.iter().map(line).collect()
}
