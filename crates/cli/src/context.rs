//! Contexts: which daemon is meant. There is one, `default`, which is what `--host` and `DOCKER_HOST` say.

use std::sync::Arc;

use clap::Arg;

use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::template::{self, Format, Listing, Row, Value, text};
use crate::{json, output};

/// The only context.
pub(crate) const DEFAULT: &str = "default";

pub(crate) const INSPECT: Command = Command {
    synopsis: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    about: "Display detailed information on one or more contexts",
    operands: Operands::at_least(0),
    flags: || vec![template::document_flag()],
    refused: &[],
    run: inspect,
};

pub(crate) const LS: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List contexts",
    operands: Operands::NONE,
    flags: ls_flags,
    refused: &[],
    run: ls,
};

pub(crate) const SHOW: Command = Command {
    synopsis: "",
    about: "Print the name of the current context",
    operands: Operands::NONE,
    flags: Vec::new,
    refused: &[],
    run: |_, _| output::print_line(DEFAULT).map(|()| 0),
};

pub(crate) const USE: Command = Command {
    synopsis: "CONTEXT",
    about: "Set the current docker context",
    operands: Operands::exactly(1),
    flags: Vec::new,
    refused: &[],
    run: |_, given| {
        check(given.operand())?;
        output::print_line(DEFAULT)?;
        output::complain(&format!("Current context is now \"{DEFAULT}\""));
        Ok(0)
    },
};

/// Only the default context is there.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    match name {
        DEFAULT => Ok(()),
        name => Err(Error::NoSuchContext(name.to_owned())),
    }
}

fn ls_flags() -> Vec<Arg> {
    vec![template::flag(), switch("quiet", "Only show context names").short('q')]
}

fn ls(cli: &Cli, given: &Given) -> Result<u8, Error> {
    if given.switch("quiet") {
        return output::print_line(DEFAULT).map(|()| 0);
    }
    let fields = [
        ("Current", Value::Bool(true)),
        ("Description", text("Current DOCKER_HOST based configuration")),
        ("DockerEndpoint", text(cli.host())),
        ("Error", text("")),
        ("Name", text(DEFAULT)),
    ];
    let row: Row = fields.into_iter().map(|(name, field)| (Arc::from(name), field)).collect();
    let listing = Listing {
        columns: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
        titles: &[
            ("Current", ""),
            ("Description", "DESCRIPTION"),
            ("DockerEndpoint", "DOCKER ENDPOINT"),
            ("Error", "ERROR"),
            ("Name", "NAME"),
        ],
        rows: vec![row],
    };
    let format = Format::parse(given.text("format").unwrap_or_default());
    output::print(&listing.render(&format)?).map(|()| 0)
}

fn inspect(cli: &Cli, given: &Given) -> Result<u8, Error> {
    given.operands().into_iter().try_for_each(check)?;
    let memory = "<IN MEMORY>";
    let document = serde_json::json!({
        "Name": DEFAULT, "Metadata": {}, "Endpoints": {"docker": {"Host": cli.host(), "SkipTLSVerify": false}},
        "TLSMaterial": {}, "Storage": {"MetadataPath": memory, "TLSPath": memory},
    })
    .to_string();
    let count = given.operands().len().max(1);
    let text = match given.text("format").unwrap_or_default() {
        "" => json::indent(&format!("[{}]", vec![document; count].join(",")), "", "    ") + "\n",
        "json" => json::compact(&format!("[{}]", vec![document; count].join(","))) + "\n",
        source => {
            let document = serde_json::from_str(&document).map_err(Error::Answer)?;
            (template::document(source, document)? + "\n").repeat(count)
        }
    };
    output::print(&text).map(|()| 0)
}
