//! The commands about containers.

pub(crate) mod attach;
mod attached;
pub(crate) mod commit;
pub(crate) mod cp;
pub(crate) mod create;
mod devices;
pub(crate) mod diff;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod export;
mod files;
mod health;
pub(crate) mod inspect;
pub(crate) mod kill;
mod limits;
pub(crate) mod logs;
pub(crate) mod ls;
mod mounts;
pub(crate) mod network;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod prune;
mod publish;
pub(crate) mod rename;
mod resources;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod run;
mod security;
mod spec;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
mod systemd;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;

use clap::Arg;
use serde::Deserialize;

use crate::client::{Client, Path};
use crate::command::Cli;
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, value};

/// The flags of `stop` and `restart`.
fn stop_flags() -> Vec<Arg> {
    vec![
        value("signal", "string", "Signal to send to the container").short('s'),
        // Its name before Docker 28 was `--time`.
        value("timeout", "int", "Seconds to wait before killing the container").short('t').alias("time"),
    ]
}

/// Stops every operand, and perhaps starts it again: `verb` is `/stop` or `/restart`.
fn stop_each(cli: &Cli, given: &Given, verb: &str) -> Result<u8, Error> {
    let timeout = given.integer("timeout")?.map(|seconds| seconds.to_string());
    each(cli, given, async |client, name| {
        let path = Path::of("containers", name, verb)
            .query_if("t", timeout.as_deref())
            .query_if("signal", given.text("signal"));
        client.post(path).await?;
        Ok(name.to_owned())
    })
}

/// What of a container's inspect the commands look at. Not the whole of it, so that a daemon may spell the rest as it
/// likes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    paused: bool,
    restarting: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    tty: bool,
    open_stdin: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    auto_remove: bool,
}

impl Container {
    async fn find(client: &Client, name: &str) -> Result<Container, Error> {
        client.get(Path::of("containers", name, "/json")).await
    }
}
