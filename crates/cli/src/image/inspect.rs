//! `image inspect`: everything about images.

use crate::command::Command;
use crate::flags::Operands;
use crate::inspect::{self, Kind};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    operands: Operands::at_least(1),
    flags: inspect::flags,
    refused: &[("platform", None)],
    run: |cli, given| inspect::show(cli, given, &[Kind::Image]),
};
