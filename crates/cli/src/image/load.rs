//! `load`: images out of an archive.

use std::io::{self, IsTerminal};

use super::upload::{self, Archive};
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    operands: Operands::NONE,
    flags: || {
        vec![
            value("input", "string", "Read from tar archive file, instead of STDIN").short('i'),
            switch("quiet", "Suppress the load output").short('q'),
        ]
    },
    refused: &[("platform", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let archive = match given.text("input").unwrap_or_default() {
        "" if io::stdin().is_terminal() => return Err(Error::TerminalInput),
        "" => Archive::Stdin,
        path => Archive::open(path)?,
    };
    let quiet = if given.switch("quiet") { "1" } else { "0" };
    let path = Path::new("/images/load").query("quiet", quiet);
    cli.with_client(async |client| upload::upload(client, path, archive, upload::print_stream).await)
        .map(|()| 0)
}
