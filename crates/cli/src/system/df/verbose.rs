//! `system df -v`: a list for each kind.

use std::sync::Arc;

use api::docker::container::ContainerSummary;
use api::docker::system::{BuildCacheRecord, DiskUsage};

use super::build_cache;
use crate::container::ls as containers;
use crate::error::Error;
use crate::image::ls as images;
use crate::template::{self, Format, Listing, Row, text as field};
use crate::volume::ls as volumes;
use crate::{size, time};

const IMAGE_COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";

const CONTAINER_COLUMNS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";

const VOLUME_COLUMNS: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";

const CACHE_COLUMNS: &str =
    "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

const CACHE_TITLES: &[(&str, &str)] = &[
    ("CacheType", "CACHE TYPE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Description", "DESCRIPTION"),
    ("ID", "CACHE ID"),
    ("InUse", "IN USE"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("UsageCount", "USAGE"),
];

/// All lists as text; a template sees them as `.Images`, `.Containers`, `.Volumes` and `.BuildCache`.
pub(super) fn text(usage: DiskUsage, format: &Format) -> Result<String, Error> {
    let records = usage.build_cache.unwrap_or_default();
    let cache_bytes = size::precise(build_cache(&records).bytes);
    // Of the names of an image only the first is shown.
    let first = |image| images::rows(image, true).into_iter().next();
    let images: Vec<Row> = usage.images.unwrap_or_default().iter().filter_map(first).collect();
    let containers: Vec<Row> = usage.containers.unwrap_or_default().into_iter().map(container).collect();
    let volumes: Vec<Row> = usage.volumes.unwrap_or_default().into_iter().map(volumes::row).collect();
    let records: Vec<Row> = records.iter().map(record).collect();
    let source = match format {
        Format::Table(None) => "",
        Format::Table(Some(source)) | Format::Template(source) => source,
        Format::Json => "{{json .}}",
    };
    if !source.is_empty() {
        let lists =
            [("Images", images), ("Containers", containers), ("Volumes", volumes), ("BuildCache", records)];
        return Ok(template::lists(source, lists)? + "\n");
    }
    let table = |columns, titles, rows| Listing { columns, titles, rows }.render(&Format::Table(None));
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {cache_bytes}\n\n{}",
        table(IMAGE_COLUMNS, images::TITLES, images)?,
        table(CONTAINER_COLUMNS, containers::TITLES, containers)?,
        table(VOLUME_COLUMNS, volumes::TITLES, volumes)?,
        table(CACHE_COLUMNS, CACHE_TITLES, records)?,
    ))
}

/// Here a container's size is that of its own layer.
fn container(container: ContainerSummary) -> Row {
    containers::row(ContainerSummary { size_root_fs: None, ..container }, true)
}

fn record(record: &BuildCacheRecord) -> Row {
    let since = |moment: &str| moment.parse().map(|moment: jiff::Timestamp| time::ago(moment.as_second()));
    let last_used = record.last_used_at.clone().unwrap_or_default();
    let fields = [
        ("CacheType", record.kind.clone()),
        ("CreatedAt", record.created_at.clone()),
        ("CreatedSince", since(&record.created_at).unwrap_or_default()),
        ("Description", record.description.clone()),
        ("ID", containers::short_id(&record.id, true)),
        ("InUse", record.in_use.to_string()),
        ("LastUsedSince", since(&last_used).unwrap_or_default()),
        ("LastUsedAt", last_used),
        ("Shared", record.shared.to_string()),
        ("Size", size::precise(record.size)),
        ("UsageCount", record.usage_count.to_string()),
    ];
    fields.into_iter().map(|(name, value)| (Arc::from(name), field(value))).collect()
}
