//! `namespace ls`: the list of namespaces.

use std::sync::Arc;

use api::docker::namespace::Namespace;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::output;
use crate::template::{Format, Listing, Row, label, text};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List namespaces",
    operands: Operands::NONE,
    flags: || vec![crate::template::flag().short('f'), switch("quiet", "Only display names").short('q')],
    refused: &[],
    run,
};

const COLUMNS: &str = "{{.Name}}\t{{.Containers}}\t{{.Images}}\t{{.Labels}}";

const TITLES: &[(&str, &str)] =
    &[("Containers", "CONTAINERS"), ("Images", "IMAGES"), ("Labels", "LABELS"), ("Name", "NAME")];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Path::new("/corten/namespaces");
    let list: Vec<Namespace> = cli.with_client(async |client| client.get(path).await)?;
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet = (given.switch("quiet") && format == Format::Table(None))
        .then(|| Format::Template("{{.Name}}".into()));
    let rows = list.into_iter().map(row).collect();
    let listing = Listing { columns: COLUMNS, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?)?;
    Ok(0)
}

fn row(namespace: Namespace) -> Row {
    let pairs: Vec<String> = namespace.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = [
        ("Containers", namespace.containers.to_string()),
        ("Images", namespace.images.to_string()),
        ("Labels", pairs.join(",")),
        ("Name", namespace.name),
    ];
    let fields = fields.into_iter().map(|(name, field)| (Arc::from(name), text(field)));
    fields.chain([("Label".into(), label(namespace.labels))]).collect()
}
