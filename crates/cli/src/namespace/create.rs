//! `namespace create`: makes a namespace by name.

use api::docker::namespace::NamespaceCreateBody;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::environment;
use crate::error::Error;
use crate::flags::{Given, Operands, list};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAMESPACE",
    about: "Create a namespace. One that is used is there by itself",
    operands: Operands::exactly(1),
    flags: || vec![list("label", "list", "Set a label (key=value)").short('l')],
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let labels = environment::map(given, "label")?;
    let body = NamespaceCreateBody { name: given.operand().to_owned(), labels };
    cli.with_client(async |client| client.send_json(Path::new("/corten/namespaces"), &body).await)?;
    Ok(0)
}
