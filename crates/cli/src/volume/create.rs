//! `volume create`: makes a volume and prints its name.

use api::docker::volume::{Volume, VolumeCreateBody};

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::environment;
use crate::error::Error;
use crate::flags::{Given, Operands, list, value};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    operands: Operands::between(0, 1),
    flags: || {
        vec![
            value("driver", "string", "Specify volume driver name (default \"local\")").short('d'),
            list("label", "list", "Set metadata for a volume"),
            list("opt", "map", "Set driver specific options").short('o'),
        ]
    },
    refused: &[
        ("availability", None),
        ("group", None),
        ("limit-bytes", None),
        ("required-bytes", None),
        ("scope", None),
        ("secret", None),
        ("sharing", None),
        ("topology-preferred", None),
        ("topology-required", None),
        ("type", None),
    ],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let some = |flag| Ok::<_, Error>(Some(environment::map(given, flag)?).filter(|map| !map.is_empty()));
    let body = VolumeCreateBody {
        name: given.operand().to_owned(),
        driver: given.text("driver").unwrap_or("local").to_owned(),
        driver_opts: some("opt")?,
        labels: some("label")?,
        cluster_volume_spec: None,
    };
    let volume: Volume =
        cli.with_client(async |client| client.post_json(Path::new("/volumes/create"), &body).await)?;
    output::print_line(&volume.name).map(|()| 0)
}
