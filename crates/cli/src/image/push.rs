//! `push`: an image to its registry.

use super::pull::split;
use super::transfer::{self, Shown};
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::{output, registry};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            switch("all-tags", "Push all tags of an image to the repository").short('a'),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    refused: &[("disable-content-trust", None), ("platform", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let name = given.operand();
    let (repository, tag) = split(name);
    let is_all = given.switch("all-tags");
    if is_all && tag.is_some() {
        return Err(Error::Value("tag can't be used with --all-tags/-a".into()));
    }
    let is_quiet = given.switch("quiet");
    if tag.is_none() && !is_all && !is_quiet {
        output::print_line("Using default tag: latest")?;
    }
    let tag = if is_all { None } else { Some(tag.unwrap_or("latest")) };
    let path = Path::of("images", repository, "/push").query_if("tag", tag);
    let headers = registry::headers(repository)?;
    let shown = if is_quiet { Shown::Nowhere } else { Shown::Stdout };
    cli.with_client(async |client| transfer::transfer(client, path, headers, shown).await)?;
    match is_quiet {
        true => output::print_line(name).map(|()| 0),
        false => Ok(0),
    }
}
