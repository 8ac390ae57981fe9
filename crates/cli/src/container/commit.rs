//! `commit`: an image of a container.

use api::docker::IdResponse;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, list, switch, value};
use crate::image::tag::split_tag;
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    operands: Operands::between(1, 2),
    flags: || {
        vec![
            value("author", "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
                .short('a'),
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            value("message", "string", "Commit message").short('m'),
            switch("pause", "Pause container during commit").short('p').default_value("true"),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let (repository, tag) = given.operands().get(1).map_or(Ok(("", "")), |name| split_tag(name))?;
    let mut path = Path::new("/commit")
        .query("container", given.operand())
        .query("repo", repository)
        .query("tag", tag)
        .query("pause", if given.switch("pause") { "1" } else { "0" })
        .query_if("author", given.text("author"))
        .query_if("comment", given.text("message"));
    for change in given.list("change") {
        path = path.query("changes", change);
    }
    let made: IdResponse = cli.with_client(async |client| client.post_for(path).await)?;
    output::print_line(&made.id).map(|()| 0)
}
