//! `images`: the list of images, a line for each name.

use std::sync::Arc;

use api::docker::image::ImageSummary;

use super::stored;
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::ls::short_id;
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch};
use crate::template::{Format, Listing, Row, text};
use crate::{output, size, time};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    operands: Operands::between(0, 1),
    flags: || {
        vec![
            switch("all", "Show all images (default hides intermediate images)").short('a'),
            switch("digests", "Show digests"),
            filters::flag("Filter output based on conditions provided").short('f'),
            crate::template::flag(),
            switch("names", "Show whole names, platforms, and what the image takes as it is stored"),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only show image IDs").short('q'),
        ]
    },
    refused: &[("tree", None)],
    run,
};

/// Docker's columns.
pub(crate) const COLUMNS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

pub(crate) const TITLES: &[(&str, &str)] = &[
    ("BlobSize", "BLOB SIZE"),
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Name", "NAME"),
    ("Platform", "PLATFORM"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// What stands for a name, tag or digest that an image does not have.
pub(super) const NONE: &str = "<none>";

/// nerdctl's fields: who asks for them gets a line for each platform.
const FIELDS: [&str; 3] = [".BlobSize", ".Name", ".Platform"];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let mut filters = Filters::read(given)?;
    if let Some(name) = given.operands().first() {
        filters.add("reference", name);
    }
    let text = given.text("format").unwrap_or_default();
    // nerdctl's word for everything.
    let is_wide = cli.is_nerdctl() && text == "wide";
    let format = if is_wide { Format::Table(None) } else { Format::parse(text) };
    let is_quiet = given.switch("quiet") && format == Format::Table(None);
    let stored = !is_quiet
        && (cli.is_nerdctl() || given.switch("names") || FIELDS.iter().any(|name| text.contains(name)));
    let path = Path::new("/images/json").query_if("all", given.switch("all").then_some("1"));
    let path = filters.apply(path.query_if("manifests", stored.then_some("1")));
    let images: Vec<ImageSummary> = cli.with_client(async |client| client.get(path).await)?;
    let is_short = !given.switch("no-trunc");
    if is_quiet {
        // Docker prints an id once, however many names it has.
        let ids = images.iter().map(|image| short_id(&image.id, is_short) + "\n");
        return output::print(&ids.collect::<String>()).map(|()| 0);
    }
    let rows = match stored {
        true => images.iter().flat_map(|image| stored::rows(image, is_short, cli.is_nerdctl())).collect(),
        false => images.iter().flat_map(|image| rows(image, is_short)).collect(),
    };
    let format = match format {
        Format::Table(None) => {
            let shows_digests = given.switch("digests") || is_wide;
            Format::Table(Some(columns(given.switch("names"), shows_digests, stored)))
        }
        format => format,
    };
    output::print(&Listing { columns: COLUMNS, titles: TITLES, rows }.render_spaced(&format, cli.spacing())?)
        .map(|()| 0)
}

/// The columns of the table, by what is shown beside Docker's.
fn columns(by_name: bool, shows_digests: bool, stored: bool) -> String {
    let name = if by_name { "{{.Name}}" } else { "{{.Repository}}\t{{.Tag}}" };
    let digest = if shows_digests { "\t{{.Digest}}" } else { "" };
    let created = "\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}";
    let sizes = if stored { "\t{{.Platform}}\t{{.Size}}\t{{.BlobSize}}" } else { "\t{{.Size}}" };
    [name, digest, created, sizes].concat()
}

/// Docker's fields of each name of an image.
pub(crate) fn rows(image: &ImageSummary, is_short: bool) -> Vec<Row> {
    names(image).into_iter().map(|name| row(image, name, is_short)).collect()
}

/// Repository, tag and digest, of each name of an image.
pub(super) fn names(image: &ImageSummary) -> Vec<(&str, &str, &str)> {
    let digest_of = |repository: &str| {
        let digests = image.repo_digests.iter().filter_map(|name| name.split_once('@'));
        digests.clone().find(|(name, _)| *name == repository).map_or(NONE, |(_, digest)| digest)
    };
    let tags = image.repo_tags.iter().filter(|name| *name != "<none>:<none>");
    let mut names: Vec<(&str, &str, &str)> = tags
        .filter_map(|name| name.rsplit_once(':'))
        .map(|(repository, tag)| (repository, tag, digest_of(repository)))
        .collect();
    if names.is_empty() {
        let digests = image.repo_digests.iter().filter_map(|name| name.split_once('@'));
        names = digests.map(|(repository, digest)| (repository, NONE, digest)).collect();
    }
    if names.is_empty() {
        names.push((NONE, NONE, NONE));
    }
    names
}

pub(super) fn row(image: &ImageSummary, name: (&str, &str, &str), is_short: bool) -> Row {
    let (repository, tag, digest) = name;
    let is_dated = image.created > 0;
    let known = |number: i64| if number < 0 { "N/A".to_owned() } else { number.to_string() };
    let known_size = |bytes: i64| if bytes < 0 { "N/A".to_owned() } else { size::precise(bytes) };
    let is_shared_known = image.shared_size >= 0;
    let fields = [
        ("Containers", known(image.containers)),
        ("CreatedAt", if is_dated { time::local(image.created) } else { "N/A".into() }),
        ("CreatedSince", if is_dated { time::ago(image.created) } else { String::new() }),
        ("Digest", digest.to_owned()),
        ("ID", short_id(&image.id, is_short)),
        ("Repository", repository.to_owned()),
        ("SharedSize", known_size(image.shared_size)),
        ("Size", size::decimal(image.size)),
        ("Tag", tag.to_owned()),
        ("UniqueSize", known_size(if is_shared_known { image.size - image.shared_size } else { -1 })),
        ("VirtualSize", size::decimal(image.size)),
    ];
    fields.into_iter().map(|(name, field)| (Arc::from(name), text(field))).collect()
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, TITLES, rows};
    use crate::template::{Format, Listing};
    use api::docker::image::ImageSummary;
    use serde_json::json;

    fn list(format: &str) -> String {
        let images: Vec<ImageSummary> = serde_json::from_value(json!([
            {"Id": "sha256:0123456789abcdef", "Created": jiff::Timestamp::now().as_second() - 7200, "Size": 4_261_502,
             "RepoTags": ["host:5000/a/b:1", "c:latest"], "RepoDigests": ["c@sha256:77"], "SharedSize": -1, "Containers": -1},
            {"Id": "sha256:fedcba9876543210", "Created": 0, "Size": 5, "RepoTags": [], "RepoDigests": []},
            {"Id": "sha256:fedcba9876543211", "Created": 0, "Size": 5, "RepoDigests": ["d@sha256:88"]},
        ]))
        .unwrap();
        let rows = images.iter().flat_map(|image| rows(image, true)).collect();
        Listing { columns: COLUMNS, titles: TITLES, rows }.render(&Format::parse(format)).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            list(""),
            "REPOSITORY      TAG       IMAGE ID       CREATED       SIZE\n\
             host:5000/a/b   1         0123456789ab   2 hours ago   4.26MB\n\
             c               latest    0123456789ab   2 hours ago   4.26MB\n\
             <none>          <none>    fedcba987654   N/A           5B\n\
             d               <none>    fedcba987654   N/A           5B\n"
        );
    }

    #[test]
    fn templates_see_the_other_fields() {
        assert_eq!(
            list("{{.Repository}}@{{.Digest}} {{.SharedSize}} {{.Containers}}").lines().nth(1),
            Some("c@sha256:77 N/A N/A")
        );
    }
}
