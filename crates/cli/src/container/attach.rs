//! `attach`: the streams of a running container.

use api::docker::container::WaitResponse;
use clap::Arg;
use tokio::try_join;

use super::attached::Attached;
use super::{Container, wait};
use crate::attach::{End, Foreground, Process, Streams, Wiring, resize};
use crate::client::{Body, Client, Hijacked, Path};
use crate::command::{Cli, Command};
use crate::error::{Error, TOOL_FAILED};
use crate::flags::{Given, Operands, switch, value};
use crate::terminal::{self, DetachKeys, Raw};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            value("detach-keys", "string", "Override the key sequence for detaching a container"),
            switch("no-stdin", "Do not attach STDIN"),
            sig_proxy(),
        ]
    },
    refused: &[],
    run,
};

/// Docker's switch that is on unless it is turned off.
pub(crate) fn sig_proxy() -> Arg {
    switch("sig-proxy", "Proxy received signals to the process (default true)")
}

/// Whether signals are passed on.
pub(crate) fn proxies(given: &Given) -> bool {
    given.text("sig-proxy").is_none() || given.switch("sig-proxy")
}

/// How a container is held in the foreground.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    pub(crate) has_terminal: bool,
    /// What of the output is passed on.
    pub(crate) output: Attached,
    /// The keys that detach, if stdin is passed on.
    pub(crate) input: Option<DetachKeys>,
    /// The same for the daemon.
    pub(crate) detach_keys: Option<&'a str>,
    /// Whether signals are passed on.
    pub(crate) proxies: bool,
    /// Which end of the container ends this.
    pub(crate) condition: Option<&'static str>,
}

/// Attaches to a container, does `begin` (its start), and stays until it has ended or the user has detached. Returns the
/// container's exit code.
///
/// The attach and the wait stand before the start, or they could miss what a short process prints, and its exit. They do
/// not depend on each other and go out together.
pub(crate) async fn hold(
    client: &Client,
    id: &str,
    hold: Hold<'_>,
    begin: impl Future<Output = Result<(), Error>>,
) -> Result<u8, Error> {
    let Hold { has_terminal, output, input, detach_keys, proxies, condition } = hold;
    let attached = Attached { stdin: input.is_some(), ..output };
    let process = Process::Container(id);
    let foreground = Foreground::new(client, process, has_terminal, proxies)?;
    let (connection, exit) =
        try_join!(connect(client, id, attached, detach_keys), wait::begin(client, id, condition))?;
    let raw = (has_terminal && input.is_some()).then(Raw::enter).transpose().map_err(Error::Input)?;
    let streams = Streams::start(connection, Wiring { has_terminal, input });
    let work = async {
        begin.await?;
        if has_terminal {
            resize(client, process).await;
        }
        match streams.end().await? {
            End::Detached => Ok(0),
            End::Closed => exit_code(exit.await?),
        }
    };
    let result = foreground.during(work).await;
    // The terminal is put in order before anything is said about an error.
    drop(raw);
    result
}

/// Connects to the streams of a container; what it prints from here on is not missed.
async fn connect(
    client: &Client,
    id: &str,
    attached: Attached,
    detach_keys: Option<&str>,
) -> Result<Hijacked, Error> {
    let path = Path::of("containers", id, "/attach")
        .query("stream", "1")
        .query_if("stdout", attached.stdout.then_some("1"))
        .query_if("stderr", attached.stderr.then_some("1"))
        .query_if("stdin", attached.stdin.then_some("1"))
        .query_if("detachKeys", detach_keys);
    client.hijack(path, Body::empty()).await
}

/// The exit code of a container as ours.
fn exit_code(exit: WaitResponse) -> Result<u8, Error> {
    match exit.error.map(|error| error.message).filter(|message| !message.is_empty()) {
        Some(message) => {
            Err(Error::Value(format!("waiting for the container: {message}")).exiting(TOOL_FAILED))
        }
        None => Ok(exit.status_code.to_le_bytes()[0]),
    }
}

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let keys = given.parsed("detach-keys", DetachKeys::parse)?.unwrap_or_default();
    cli.with_client(async |client| attach_to(client, given, keys).await)
}

async fn attach_to(client: &Client, given: &Given, keys: DetachKeys) -> Result<u8, Error> {
    let container = Container::find(client, given.operand()).await?;
    let state = &container.state;
    let not_attachable = |state, remedy| Err(Error::NotAttachable { state, remedy });
    match (state.running, state.paused, state.restarting) {
        (_, true, _) => return not_attachable("paused", "unpause"),
        (_, _, true) => return not_attachable("restarting", "stop"),
        (false, ..) => return not_attachable("stopped", "start"),
        _ => {}
    }
    let has_terminal = container.config.tty;
    let has_input = container.config.open_stdin && !given.switch("no-stdin");
    if has_terminal && has_input && !terminal::is_input() {
        return Err(Error::NotATerminal);
    }
    let wanted = Hold {
        has_terminal,
        output: Attached::OUTPUT,
        input: has_input.then_some(keys),
        detach_keys: given.text("detach-keys"),
        proxies: proxies(given),
        condition: None,
    };
    hold(client, &container.id, wanted, async { Ok(()) }).await
}
