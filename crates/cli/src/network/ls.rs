//! `network ls`: the list of networks.

use std::sync::Arc;

use api::docker::network::Network;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::ls::short_id;
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::template::{Format, Listing, Row, label, text};
use crate::{output, time};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List networks",
    operands: Operands::NONE,
    flags: || {
        vec![
            filters::flag("Provide filter values (e.g. \"driver=bridge\")").short('f'),
            crate::template::flag(),
            switch("no-trunc", "Do not truncate the output"),
            switch("quiet", "Only display network IDs").short('q'),
        ]
    },
    refused: &[],
    run,
};

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

const TITLES: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Filters::read(given)?.apply(Path::new("/networks"));
    let mut networks: Vec<Network> = cli.with_client(async |client| client.get(path).await)?;
    networks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet =
        (given.switch("quiet") && format == Format::Table(None)).then(|| Format::Template("{{.ID}}".into()));
    let is_short = !given.switch("no-trunc");
    let rows = networks.into_iter().map(|network| row(network, is_short)).collect();
    let listing = Listing { columns: COLUMNS, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?).map(|()| 0)
}

/// Docker's fields of one network.
fn row(network: Network, is_short: bool) -> Row {
    let pairs: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = [
        ("CreatedAt", time::utc(&network.created)),
        ("Driver", network.driver),
        ("ID", short_id(&network.id, is_short)),
        ("IPv4", network.enable_ipv4.to_string()),
        ("IPv6", network.enable_ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("Labels", pairs.join(",")),
        ("Name", network.name),
        ("Scope", network.scope),
    ];
    let fields = fields.into_iter().map(|(name, field)| (Arc::from(name), text(field)));
    fields.chain([("Label".into(), label(network.labels))]).collect()
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, TITLES, row};
    use crate::template::{Format, Listing};
    use api::docker::network::Network;
    use serde_json::json;

    fn list(format: &str, is_short: bool) -> String {
        let network: Network = serde_json::from_value(json!({
            "Name": "mine", "Id": "0123456789abcdef", "Driver": "bridge", "Scope": "local", "EnableIPv4": true,
            "EnableIPv6": false, "Internal": true, "Labels": {"a": "b", "c.d": "e"}, "Created": "2024-01-02T15:04:05.06Z",
        }))
        .unwrap();
        let listing = Listing { columns: COLUMNS, titles: TITLES, rows: vec![row(network, is_short)] };
        listing.render(&Format::parse(format)).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            list("", true),
            "NETWORK ID     NAME      DRIVER    SCOPE\n0123456789ab   mine      bridge    local\n"
        );
        assert_eq!(list("{{.ID}}", false), "0123456789abcdef\n");
    }

    #[test]
    fn every_field_can_be_asked_for() {
        assert_eq!(
            list("{{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label \"c.d\"}}", true),
            "true false true a=b,c.d=e e\n"
        );
        assert_eq!(list("{{.CreatedAt}}", true), "2024-01-02 15:04:05.06 +0000 UTC\n");
    }
}
