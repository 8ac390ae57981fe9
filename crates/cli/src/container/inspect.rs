//! `container inspect`: everything about containers.

use crate::command::Command;
use crate::flags::{Operands, switch};
use crate::inspect::{self, Kind};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    operands: Operands::at_least(1),
    flags: || {
        let mut flags = inspect::flags();
        flags.push(switch("size", "Display total file sizes").short('s'));
        flags
    },
    refused: &[],
    run: |cli, given| inspect::show(cli, given, &[Kind::Container]),
};
