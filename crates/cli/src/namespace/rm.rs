//! `namespace rm`: removes namespaces that nothing is in.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "NAMESPACE [NAMESPACE...]",
    about: "Remove one or more empty namespaces",
    operands: Operands::at_least(1),
    flags: Vec::new,
    refused: &[("cgroup", Some('c'))],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            client.delete(Path::of("corten/namespaces", name, "")).await?;
            Ok(name.to_owned())
        })
    },
};
