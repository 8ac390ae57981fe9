//! `history`: how an image was made, the last step first.

use std::sync::Arc;

use api::docker::image::ImageHistoryItem;
use jiff::Timestamp;
use jiff::tz::TimeZone;

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
            crate::template::flag().short('f'),
            switch("human", "Print sizes and dates in human readable format")
                .short('H')
                .default_value("true"),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only show image IDs").short('q'),
        ]
    },
    refused: &[("platform", None)],
    run,
};

const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT_COLUMNS: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const TITLES: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

/// How many characters of a command a table shows.
const COMMAND_WIDTH: usize = 45;

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Path::of("images", given.operand(), "/history");
    let items: Vec<ImageHistoryItem> = cli.with_client(async |client| client.get(path).await)?;
    let (is_short, is_human) = (!given.switch("no-trunc"), given.switch("human"));
    let format = Format::parse(given.text("format").unwrap_or_default());
    let quiet =
        (given.switch("quiet") && format == Format::Table(None)).then(|| Format::Template("{{.ID}}".into()));
    let rows = items.iter().map(|item| row(item, is_short, is_human)).collect();
    let columns = if is_human { COLUMNS } else { EXACT_COLUMNS };
    let listing = Listing { columns, titles: TITLES, rows };
    output::print(&listing.render(&quiet.unwrap_or(format))?).map(|()| 0)
}

/// Docker's fields of one step.
fn row(item: &ImageHistoryItem, is_short: bool, is_human: bool) -> Row {
    let is_dated = item.created > 0;
    let command = item.created_by.replace('\t', " ");
    let fields = [
        ("Comment", item.comment.clone()),
        ("CreatedAt", if is_dated { rfc3339(item.created) } else { "N/A".into() }),
        ("CreatedBy", if is_short { ellipsis(&command, COMMAND_WIDTH) } else { command }),
        ("CreatedSince", if is_dated { time::ago(item.created) } else { "N/A".into() }),
        ("ID", short_id(&item.id, is_short)),
        ("Size", if is_human { size::decimal(item.size) } else { item.size.to_string() }),
    ];
    fields.into_iter().map(|(name, field)| (Arc::from(name), text(field))).collect()
}

/// In local time.
fn rfc3339(seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(seconds) else { return String::new() };
    let text = moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.strip_suffix("+00:00").map_or_else(|| text.clone(), |utc| format!("{utc}Z"))
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, EXACT_COLUMNS, TITLES, row};
    use crate::template::{Format, Listing};
    use api::docker::image::ImageHistoryItem;

    fn list(is_human: bool) -> String {
        let last = ImageHistoryItem {
            id: "sha256:0123456789abcdef".into(),
            created: jiff::Timestamp::now().as_second() - 7200,
            created_by: "/bin/sh -c echo\ta command that is longer than a column".into(),
            size: 4_261_502,
            comment: "c".into(),
            ..ImageHistoryItem::default()
        };
        let first = ImageHistoryItem { id: "<missing>".into(), ..ImageHistoryItem::default() };
        let rows = [last, first].iter().map(|item| row(item, true, is_human)).collect();
        let columns = if is_human { COLUMNS } else { EXACT_COLUMNS };
        Listing { columns, titles: TITLES, rows }.render(&Format::parse("")).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            list(true),
            "IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT\n\
             0123456789ab   2 hours ago   /bin/sh -c echo a command that is longer tha…   4.26MB    c\n\
             <missing>      N/A                                                           0B        \n"
        );
        assert!(list(false).contains("   4261502   c\n"));
    }
}
