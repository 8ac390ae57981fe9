//! `search`: images that a registry offers.

use std::sync::Arc;

use api::docker::image::SearchItem;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch, value};
use crate::output;
use crate::template::{Format, Listing, Row, text};

/// What is shown of a description unless all of it is wanted.
const DESCRIPTION: usize = 45;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] TERM",
    about: "Search a registry for images",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            filters::flag("Filter output based on conditions provided").short('f'),
            crate::template::flag(),
            value("limit", "int", "Max number of search results"),
            switch("no-trunc", "Don't truncate output"),
        ]
    },
    refused: &[],
    run,
};

const COLUMNS: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

const TITLES: &[(&str, &str)] = &[
    ("Description", "DESCRIPTION"),
    ("IsAutomated", "AUTOMATED"),
    ("IsOfficial", "OFFICIAL"),
    ("Name", "NAME"),
    ("StarCount", "STARS"),
];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let term = given.operand();
    let path = Filters::read(given)?.apply(Path::new("/images/search").query("term", term));
    let path = path.query_if("limit", given.text("limit"));
    let headers = super::headers(term)?;
    let found: Vec<SearchItem> = cli.with_client(async |client| client.get_with(path, headers).await)?;
    let is_whole = given.switch("no-trunc");
    let rows = found.into_iter().map(|item| row(item, is_whole)).collect();
    let format = Format::parse(given.text("format").unwrap_or_default());
    output::print(&Listing { columns: COLUMNS, titles: TITLES, rows }.render(&format)?)?;
    Ok(0)
}

fn row(item: SearchItem, is_whole: bool) -> Row {
    let description = item.description.replace(['\n', '\r'], " ");
    let description = match description.chars().count() > DESCRIPTION && !is_whole {
        true => description.chars().take(DESCRIPTION - 1).collect::<String>() + "…",
        false => description,
    };
    let ok = |is: bool| if is { "[OK]" } else { "" }.to_owned();
    let fields = [
        ("Description", description),
        ("IsAutomated", ok(item.is_automated)),
        ("IsOfficial", ok(item.is_official)),
        ("Name", item.name),
        ("StarCount", item.star_count.to_string()),
    ];
    fields.into_iter().map(|(name, field)| (Arc::from(name), text(field))).collect()
}
