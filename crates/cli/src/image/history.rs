//! `history`: the steps that made an image.

use std::sync::Arc;

use api::docker::image::ImageHistoryItem;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::ls::{ellipsis, short_id};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::template::{Format, Listing, Row, text};
use crate::{output, size, time};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            crate::template::flag(),
            switch("human", "Print sizes and dates in human readable format (default true)").short('H'),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only show image IDs").short('q'),
        ]
    },
    refused: &[("platform", None)],
    run,
};

const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const TITLES: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

/// How many characters of a step a table shows.
const STEP_WIDTH: usize = 45;

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Path::of("images", given.operand(), "/history");
    let items: Vec<ImageHistoryItem> = cli.with_client(async |client| client.get(path).await)?;
    let shown = Shown {
        is_short: !given.switch("no-trunc"),
        is_human: given.text("human").is_none() || given.switch("human"),
    };
    let rows = items.iter().map(|item| row(item, shown)).collect();
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet =
        (given.switch("quiet") && format == Format::Table(None)).then(|| Format::Template("{{.ID}}".into()));
    let listing = Listing { columns: COLUMNS, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?).map(|()| 0)
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    is_short: bool,
    is_human: bool,
}

fn row(item: &ImageHistoryItem, shown: Shown) -> Row {
    let created_at = time::local_rfc3339(item.created);
    let step = item.created_by.replace('\t', " ");
    let fields = [
        ("Comment", item.comment.clone()),
        ("CreatedBy", if shown.is_short { ellipsis(&step, STEP_WIDTH) } else { step }),
        ("CreatedSince", if shown.is_human { time::ago(item.created) } else { created_at.clone() }),
        ("CreatedAt", created_at),
        ("ID", short_id(&item.id, shown.is_short)),
        ("Size", if shown.is_human { size::decimal(item.size) } else { item.size.to_string() }),
    ];
    fields.into_iter().map(|(name, field)| (Arc::from(name), text(field))).collect()
}
