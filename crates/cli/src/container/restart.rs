//! `restart`: stops containers and starts them again.

use crate::command::Command;
use crate::flags::Operands;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    operands: Operands::at_least(1),
    flags: super::stop_flags,
    refused: &[],
    run: |cli, given| super::stop_each(cli, given, "/restart"),
};
