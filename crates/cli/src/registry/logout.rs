//! `logout`: forgets a login.

use super::config::Config;
use super::login::key_of;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[SERVER]",
    about: "Log out from a registry",
    operands: Operands::between(0, 1),
    flags: Vec::new,
    refused: &[],
    run,
};

fn run(_cli: &Cli, given: &Given) -> Result<u8, Error> {
    let registry = key_of(given.operand());
    let was_known = Config::load()?.forget(&registry)?;
    let shown = if was_known { "Removing login credentials for" } else { "Not logged in to" };
    output::print_line(&format!("{shown} {registry}")).map(|()| 0)
}
