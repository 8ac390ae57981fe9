//! `namespace update`: changes labels.

use api::docker::namespace::NamespaceUpdateBody;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::environment;
use crate::error::Error;
use crate::flags::{Given, Operands, list};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAMESPACE",
    about: "Update the labels of a namespace",
    operands: Operands::exactly(1),
    flags: || vec![list("label", "list", "Set a label (key=value), or remove it (key=)").short('l')],
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let body = NamespaceUpdateBody { labels: environment::map(given, "label")? };
    let path = Path::of("corten/namespaces", given.operand(), "/update");
    cli.with_client(async |client| client.send_json(path, &body).await)?;
    Ok(0)
}
