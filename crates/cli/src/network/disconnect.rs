//! `network disconnect`: disconnects a container from a network.

use api::docker::network::NetworkDisconnectBody;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::flags::{Given, Operands, switch};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    operands: Operands::exactly(2),
    flags: || vec![switch("force", "Force the container to disconnect from a network").short('f')],
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        let path = Path::of("networks", given.operand(), "/disconnect");
        let body =
            NetworkDisconnectBody { container: given.operands()[1].to_owned(), force: given.switch("force") };
        cli.with_client(async |client| client.send_json(path, &body).await).map(|()| 0)
    },
};
