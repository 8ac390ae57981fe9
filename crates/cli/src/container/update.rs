//! `update`: other limits, and another restart policy, for containers that exist.

use api::docker::container::UpdateResponse;
use api::docker::host_config::HostConfig;

use super::limits;
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, Operands, value};
use crate::{output, size};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            value(
                "blkio-weight",
                "uint16",
                "Block IO (relative weight), between 10 and 1000, or 0 to disable",
            ),
            value("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
            value("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
            value("cpu-shares", "int", "CPU shares (relative weight)").short('c'),
            value("cpus", "decimal", "Number of CPUs"),
            value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
            value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
            value("memory", "bytes", "Memory limit").short('m'),
            value("memory-reservation", "bytes", "Memory soft limit"),
            value(
                "memory-swap",
                "bytes",
                "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
            ),
            value("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)"),
            value("restart", "string", "Restart policy to apply when a container exits"),
        ]
    },
    refused: &[("cpu-rt-period", None), ("cpu-rt-runtime", None), ("kernel-memory", None)],
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
    let number = |flag| given.integer(flag).map(Option::unwrap_or_default);
    let bytes = |flag| given.parsed(flag, size::parse).map(Option::unwrap_or_default);
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    let weight = |text: &str| text.parse::<u16>().map_err(|_| format!("invalid weight: {text}"));
    Ok(HostConfig {
        blkio_weight: given.parsed("blkio-weight", weight)?.unwrap_or_default(),
        cpu_period: number("cpu-period")?,
        cpu_quota: number("cpu-quota")?,
        cpu_shares: number("cpu-shares")?,
        nano_cpus: given.parsed("cpus", limits::cpus)?.unwrap_or_default(),
        cpuset_cpus: text("cpuset-cpus"),
        cpuset_mems: text("cpuset-mems"),
        memory: bytes("memory")?,
        memory_reservation: bytes("memory-reservation")?,
        memory_swap: given.parsed("memory-swap", limits::swap)?.unwrap_or_default(),
        pids_limit: given.integer("pids-limit")?,
        restart_policy: given.parsed("restart", limits::restart)?.unwrap_or_default(),
        ..HostConfig::default()
    })
}
