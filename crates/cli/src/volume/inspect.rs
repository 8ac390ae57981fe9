//! `volume inspect`: everything about volumes.

use crate::command::Command;
use crate::flags::Operands;
use crate::inspect::{self, Kind};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    operands: Operands::at_least(1),
    flags: inspect::flags,
    refused: &[("size", Some('s'))],
    run: |cli, given| inspect::show(cli, given, &[Kind::Volume]),
};
