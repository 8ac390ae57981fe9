//! `network rm`: removes networks.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands, switch};

pub(crate) const COMMAND: Command = Command {
    synopsis: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    operands: Operands::at_least(1),
    flags: || vec![switch("force", "Do not error if the network does not exist").short('f')],
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| match client.delete(Path::of("networks", name, "")).await {
            Err(error) if error.is_not_found() && given.switch("force") => Ok(String::new()),
            result => result.map(|_| name.to_owned()),
        })
    },
};
