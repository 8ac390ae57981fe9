//! `stop`: asks containers to end, and kills those that do not.

use crate::command::Command;
use crate::flags::Operands;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    operands: Operands::at_least(1),
    flags: super::stop_flags,
    refused: &[],
    run: |cli, given| super::stop_each(cli, given, "/stop"),
};
