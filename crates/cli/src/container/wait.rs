//! `wait`: blocks until containers stop, and prints their exit codes.

use api::docker::container::WaitResponse;
use http_body_util::BodyExt;
use hyper::Method;

use crate::client::{Body, Client, Path};
use crate::command::{Cli, Command};
use crate::each::each;
use crate::error::Error;
use crate::flags::{Given, Operands};

pub(crate) const COMMAND: Command = Command {
    synopsis: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    operands: Operands::at_least(1),
    flags: Vec::new,
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        each(cli, given, async |client, name| {
            let exit = begin(client, name, None).await?.await?;
            Ok(exit.status_code.to_string())
        })
    },
};

/// Begins to wait; an exit after this returns is not missed. What it returns waits for the exit.
pub(crate) async fn begin(
    client: &Client,
    name: &str,
    condition: Option<&str>,
) -> Result<impl Future<Output = Result<WaitResponse, Error>> + use<>, Error> {
    let path = Path::of("containers", name, "/wait").query_if("condition", condition);
    let answer = client.stream(Method::POST, path, Body::empty()).await?;
    Ok(async move {
        let answer = answer.collect().await.map_err(Error::Transport)?.to_bytes();
        serde_json::from_slice(&answer).map_err(Error::Answer)
    })
}
