//! `pause` and `unpause`: stop the processes of containers where they are, and let them go on.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, Operands};

pub(crate) const PAUSE: Command = Command {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    operands: Operands::at_least(1),
    flags: Vec::new,
    refused: &[],
    run: |cli, given| post_each(cli, given, "/pause"),
};

pub(crate) const UNPAUSE: Command = Command {
    about: "Unpause all processes within one or more containers",
    run: |cli, given| post_each(cli, given, "/unpause"),
    ..PAUSE
};

fn post_each(cli: &Cli, given: &Given, verb: &str) -> Result<u8, Error> {
    each(cli, given, async |client, name| {
        client.post(Path::of("containers", name, verb)).await?;
        Ok(name.to_owned())
    })
}
