//! `network inspect`: everything about networks.

use crate::command::Command;
use crate::flags::Operands;
use crate::inspect::{self, Kind};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
    operands: Operands::at_least(1),
    flags: inspect::flags,
    refused: &[("verbose", Some('v'))],
    run: |cli, given| inspect::show(cli, given, &[Kind::Network]),
};
