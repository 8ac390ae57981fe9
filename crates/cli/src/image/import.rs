//! `import`: an image out of a root file system.

use super::tag::split_tag;
use super::upload::{self, Archive};
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, list, value};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    operands: Operands::between(1, 2),
    flags: || {
        vec![
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            value("message", "string", "Set commit message for imported image").short('m'),
            value("platform", "string", "Set platform if server is multi-platform capable"),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let source = given.operand();
    let (repository, tag) = given.operands().get(1).map_or(Ok(("", "")), |name| split_tag(name))?;
    let (from, archive) = match source {
        "-" => ("-", Archive::Stdin),
        // The daemon fetches it.
        url if url.starts_with("http://") || url.starts_with("https://") => (url, Archive::Nothing),
        file => ("-", Archive::open(file)?),
    };
    let mut path =
        Path::new("/images/create").query("fromSrc", from).query("repo", repository).query("tag", tag);
    path = path.query_if("message", given.text("message")).query_if("platform", given.text("platform"));
    for change in given.list("change") {
        path = path.query("changes", change);
    }
    let show = |message: &api::docker::Progress| match message.progress_detail {
        Some(_) => Ok(()),
        None => output::print_line(&message.status),
    };
    cli.with_client(async |client| upload::upload(client, path, archive, show).await).map(|()| 0)
}
