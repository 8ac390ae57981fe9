//! What every prune does: asks the daemon for one kind, and tells what went.

use api::docker::container::ContainersPruneReport;
use api::docker::image::{ImageDeleteItem, ImagesPruneReport};
use api::docker::network::NetworksPruneReport;
use api::docker::volume::VolumesPruneReport;

use crate::client::{Client, Path};
use crate::error::Error;
use crate::filters::Filters;
use crate::{output, size};

/// What went, in Docker's words, and what that gave back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// Empty when nothing went.
    pub(crate) text: String,
    pub(crate) reclaimed_bytes: i64,
}

impl Pruned {
    fn new(title: &str, lines: Option<Vec<String>>, reclaimed_bytes: i64) -> Pruned {
        let text = match lines.filter(|lines| !lines.is_empty()) {
            Some(lines) => format!("{title}:\n{}\n", lines.join("\n")),
            None => String::new(),
        };
        Pruned { text, reclaimed_bytes }
    }

    /// Prints it as the prune of one kind does.
    pub(crate) fn print(&self) -> Result<(), Error> {
        let total = format!("Total reclaimed space: {}\n", size::precise(self.reclaimed_bytes));
        output::print(&match self.text.as_str() {
            "" => total,
            text => format!("{text}\n{total}"),
        })
    }
}

/// Containers that do not run.
pub(crate) async fn containers(client: &Client, filters: &Filters) -> Result<Pruned, Error> {
    let report: ContainersPruneReport =
        client.post_for(filters.apply(Path::new("/containers/prune"))).await?;
    Ok(Pruned::new("Deleted Containers", report.containers_deleted, report.space_reclaimed))
}

/// Networks without containers.
pub(crate) async fn networks(client: &Client, filters: &Filters) -> Result<Pruned, Error> {
    let report: NetworksPruneReport = client.post_for(filters.apply(Path::new("/networks/prune"))).await?;
    Ok(Pruned::new("Deleted Networks", report.networks_deleted, 0))
}

/// Anonymous volumes without containers; which more, the filters say.
pub(crate) async fn volumes(client: &Client, filters: &Filters) -> Result<Pruned, Error> {
    let report: VolumesPruneReport = client.post_for(filters.apply(Path::new("/volumes/prune"))).await?;
    Ok(Pruned::new("Deleted Volumes", report.volumes_deleted, report.space_reclaimed))
}

/// Images without a name, or (`all`) without a container.
pub(crate) async fn images(client: &Client, filters: &Filters, all: bool) -> Result<Pruned, Error> {
    let mut filters = filters.clone();
    filters.add("dangling", if all { "false" } else { "true" });
    let report: ImagesPruneReport = client.post_for(filters.apply(Path::new("/images/prune"))).await?;
    let line = |item: &ImageDeleteItem| match item.deleted.as_str() {
        "" => format!("untagged: {}", item.untagged),
        deleted => format!("deleted: {deleted}"),
    };
    let lines = report.images_deleted.map(|items| items.iter().map(line).collect());
    Ok(Pruned::new("Deleted Images", lines, report.space_reclaimed))
}

#[cfg(test)]
mod tests {
    use super::Pruned;

    #[test]
    fn nothing_has_no_title() {
        let pruned = Pruned::new("Deleted Volumes", Some(vec!["a".into(), "b".into()]), 5);
        assert_eq!(pruned, Pruned { text: "Deleted Volumes:\na\nb\n".into(), reclaimed_bytes: 5 });
        assert_eq!(Pruned::new("Deleted Volumes", Some(Vec::new()), 0), Pruned::default());
    }
}
