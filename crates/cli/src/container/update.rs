//! `update`: other limits, and another restart policy, for containers that exist.

use api::docker::container::UpdateResponse;
use api::docker::host_config::HostConfig;

use super::{limits, resources};
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, Operands, value};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    operands: Operands::at_least(1),
    flags: || {
        let mut flags = resources::flags();
        flags.push(value("restart", "string", "Restart policy to apply when a container exits"));
        flags
    },
    refused: &[("kernel-memory", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let body = read(given)?;
    if body == HostConfig::default() {
        return Err(given.misuse("you must provide one or more flags when using this command"));
    }
    each(cli, given, async |client, name| {
        let path = Path::of("containers", name, "/update");
        let answer: UpdateResponse = client.post_json(path, &body).await?;
        answer.warnings.iter().flatten().for_each(|warning| output::complain(warning));
        Ok(name.to_owned())
    })
}

/// What changes, as Docker sends it.
fn read(given: &Given) -> Result<HostConfig, Error> {
    let restart_policy = given.parsed("restart", limits::restart)?.unwrap_or_default();
    let mut body = HostConfig { restart_policy, ..HostConfig::default() };
    resources::apply(given, &mut body)?;
    Ok(body)
}
