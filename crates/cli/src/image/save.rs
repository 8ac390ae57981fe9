//! `save`: images as an archive.

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::download::Target;
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            value("output", "string", "Write to a file, instead of STDOUT").short('o'),
            value("platform", "string", "Save only the given platform variant (e.g. \"linux/amd64\")"),
            switch("quiet", "Show nothing but the archive, which is so anyway").short('q'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let target = Target::new(given.text("output").unwrap_or_default(), "save image")?;
    let platform = given.text("platform").filter(|text| !text.is_empty());
    let mut path = Path::new("/images/get").query_if("platform", platform);
    for name in given.operands() {
        path = path.query("names", name);
    }
    cli.with_client(async |client| target.fill(client, path).await).map(|()| 0)
}
