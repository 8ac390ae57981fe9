//! `volume ls`: the list of volumes.

use std::sync::Arc;

use api::docker::system::DiskUsage;
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
            switch("size", "Display what volumes take of the disk").short('s'),
        ]
    },
    refused: &[("cluster", None)],
    run,
};

const COLUMNS: &str = "{{.Driver}}\t{{.Name}}";

const COLUMNS_WITH_SIZE: &str = "{{.Driver}}\t{{.Name}}\t{{.Size}}";

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
    if given.switch("size") {
        measure(cli, &mut list.volumes)?;
    }
    list.volumes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet = (given.switch("quiet") && format == Format::Table(None))
        .then(|| Format::Template("{{.Name}}".into()));
    let rows = list.volumes.into_iter().map(row).collect();
    let columns = if given.switch("size") { COLUMNS_WITH_SIZE } else { COLUMNS };
    let listing = Listing { columns, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?)?;
    list.warnings
        .unwrap_or_default()
        .iter()
        .for_each(|warning| output::complain(&format!("WARNING: {warning}")));
    Ok(0)
}

/// Adds what each volume takes; a volume that went meanwhile has none.
fn measure(cli: &Cli, volumes: &mut [Volume]) -> Result<(), Error> {
    let path = Path::new("/system/df").query("type", "volume");
    let usage: DiskUsage = cli.with_client(async |client| client.get(path).await)?;
    for measured in usage.volumes.unwrap_or_default() {
        if let Some(volume) = volumes.iter_mut().find(|volume| volume.name == measured.name) {
            volume.usage_data = measured.usage_data;
        }
    }
    Ok(())
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
