//! `namespace inspect`: everything about namespaces.

use crate::command::Command;
use crate::flags::Operands;
use crate::inspect::{self, Kind};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAMESPACE [NAMESPACE...]",
    about: "Display detailed information on one or more namespaces",
    operands: Operands::at_least(1),
    flags: inspect::flags,
    refused: &[],
    run: |cli, given| inspect::show(cli, given, &[Kind::Namespace]),
};
