//! `volume ls`: the list of volumes.

use std::sync::Arc;

use api::docker::volume::{Volume, VolumeList, VolumeUsage};

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::template::{Format, Listing, Row, label, text};
use crate::{output, size};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List volumes",
    operands: Operands::NONE,
    flags: || {
        vec![
            filters::flag("Provide filter values (e.g. \"dangling=true\")").short('f'),
            crate::template::flag(),
            switch("quiet", "Only display volume names").short('q'),
        ]
    },
    refused: &[("cluster", None)],
    run,
};

const COLUMNS: &str = "{{.Driver}}\t{{.Name}}";

pub(crate) const TITLES: &[(&str, &str)] = &[
    ("Driver", "DRIVER"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Filters::read(given)?.apply(Path::new("/volumes"));
    let mut list: VolumeList = cli.with_client(async |client| client.get(path).await)?;
    list.volumes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet = (given.switch("quiet") && format == Format::Table(None))
        .then(|| Format::Template("{{.Name}}".into()));
    let rows = list.volumes.into_iter().map(row).collect();
    let listing = Listing { columns: COLUMNS, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?)?;
    list.warnings
        .unwrap_or_default()
        .iter()
        .for_each(|warning| output::complain(&format!("WARNING: {warning}")));
    Ok(0)
}

/// Docker's fields of one volume; a plain list does not know sizes and links.
pub(crate) fn row(volume: Volume) -> Row {
    let known = |number: fn(&VolumeUsage) -> String| {
        volume.usage_data.as_ref().map_or_else(|| "N/A".to_owned(), number)
    };
    let (links, size) =
        (known(|usage| usage.ref_count.to_string()), known(|usage| size::precise(usage.size)));
    let labels = volume.labels.unwrap_or_default();
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = [
        ("Driver", volume.driver),
        ("Labels", pairs.join(",")),
        ("Links", links),
        ("Mountpoint", volume.mountpoint),
        ("Name", volume.name),
        ("Scope", volume.scope),
        ("Size", size),
    ];
    let fields = fields.into_iter().map(|(name, field)| (Arc::from(name), text(field)));
    fields.chain([("Label".into(), label(labels))]).collect()
}
