//! `system df`: what images, containers, volumes and the build cache take of the disk.

mod verbose;

use std::sync::Arc;

use api::docker::container::ContainerSummary;
use api::docker::image::ImageSummary;
use api::docker::system::{BuildCacheRecord, DiskUsage};
use api::docker::volume::{Volume, VolumeUsage};

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::template::{Format, Listing, Row, text};
use crate::{output, size};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Show disk usage",
    operands: Operands::NONE,
    flags: || {
        vec![
            crate::template::flag(),
            switch("verbose", "Show detailed information on space usage").short('v'),
        ]
    },
    refused: &[],
    run,
};

const COLUMNS: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const TITLES: &[(&str, &str)] = &[
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let format = Format::parse(given.text("format").unwrap_or_default());
    let usage: DiskUsage = cli.with_client(async |client| client.get(Path::new("/system/df")).await)?;
    let text = match given.switch("verbose") {
        true => verbose::text(usage, &format)?,
        false => {
            let rows = totals(&usage).into_iter().map(Total::row).collect();
            Listing { columns: COLUMNS, titles: TITLES, rows }.render(&format)?
        }
    };
    output::print(&text).map(|()| 0)
}

/// One line of the summary.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    kind: &'static str,
    count: usize,
    active: usize,
    bytes: i64,
    reclaimable_bytes: i64,
    /// Docker tells no share of what can be reclaimed of the build cache.
    has_share: bool,
}

fn totals(usage: &DiskUsage) -> [Total; 4] {
    [
        images(usage.images.as_deref().unwrap_or_default(), usage.layers_size),
        containers(usage.containers.as_deref().unwrap_or_default()),
        volumes(usage.volumes.as_deref().unwrap_or_default()),
        build_cache(usage.build_cache.as_deref().unwrap_or_default()),
    ]
}

/// What images that are used do not share counts as used; all else can be reclaimed.
fn images(images: &[ImageSummary], layer_bytes: i64) -> Total {
    let used = images.iter().filter(|image| image.containers > 0);
    let is_known = |image: &&ImageSummary| image.size >= 0 && image.shared_size >= 0;
    let used_bytes: i64 = used.clone().filter(is_known).map(|image| image.size - image.shared_size).sum();
    Total {
        kind: "Images",
        count: images.len(),
        active: used.count(),
        bytes: layer_bytes,
        reclaimable_bytes: layer_bytes - used_bytes,
        has_share: true,
    }
}

fn containers(containers: &[ContainerSummary]) -> Total {
    let is_active = |container: &&ContainerSummary| {
        ["running", "paused", "restarting"].contains(&container.state.as_str())
    };
    let bytes = |container: &ContainerSummary| container.size_rw.unwrap_or_default();
    Total {
        kind: "Containers",
        count: containers.len(),
        active: containers.iter().filter(is_active).count(),
        bytes: containers.iter().map(bytes).sum(),
        reclaimable_bytes: containers.iter().filter(|one| !is_active(one)).map(bytes).sum(),
        has_share: true,
    }
}

fn volumes(volumes: &[Volume]) -> Total {
    let usage = |volume: &Volume| volume.usage_data.clone().unwrap_or_default();
    let known = |usage: &VolumeUsage| usage.size.max(0);
    let (used, unused): (Vec<VolumeUsage>, Vec<VolumeUsage>) =
        volumes.iter().map(usage).partition(|usage| usage.ref_count > 0);
    let reclaimable_bytes = unused.iter().map(known).sum();
    Total {
        kind: "Local Volumes",
        count: volumes.len(),
        active: used.len(),
        bytes: used.iter().map(known).sum::<i64>() + reclaimable_bytes,
        reclaimable_bytes,
        has_share: true,
    }
}

fn build_cache(records: &[BuildCacheRecord]) -> Total {
    let own = |records: &mut dyn Iterator<Item = &BuildCacheRecord>| {
        records.filter(|record| !record.shared).map(|record| record.size).sum()
    };
    Total {
        kind: "Build Cache",
        count: records.len(),
        active: records.iter().filter(|record| record.in_use).count(),
        bytes: own(&mut records.iter()),
        reclaimable_bytes: own(&mut records.iter().filter(|record| !record.in_use)),
        has_share: false,
    }
}

impl Total {
    fn row(self) -> Row {
        let reclaimable = size::precise(self.reclaimable_bytes);
        let share = match self.has_share && self.bytes > 0 {
            true => format!(" ({}%)", self.reclaimable_bytes * 100 / self.bytes),
            false => String::new(),
        };
        let fields = [
            ("Active", self.active.to_string()),
            ("Reclaimable", reclaimable + &share),
            ("Size", size::precise(self.bytes)),
            ("TotalCount", self.count.to_string()),
            ("Type", self.kind.to_owned()),
        ];
        fields.into_iter().map(|(name, field)| (Arc::from(name), text(field))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, TITLES, Total, totals, verbose};
    use crate::template::{Format, Listing};
    use api::docker::system::DiskUsage;
    use serde_json::json;

    fn usage() -> DiskUsage {
        serde_json::from_value(json!({
            "LayersSize": 10_000_000,
            "Images": [
                {"Id": "sha256:0123456789abcdef", "RepoTags": ["a:1", "b:1"], "Size": 4_000_000, "SharedSize": 1_000_000,
                 "Containers": 1},
                {"Id": "sha256:fedcba9876543210", "Size": 7_000_000, "SharedSize": 1_000_000, "Containers": 0},
            ],
            "Containers": [
                {"Id": "0123456789abcdef", "Names": ["/web"], "Image": "a:1", "Command": "sh", "State": "running",
                 "Status": "Up", "SizeRw": 300, "SizeRootFs": 4_000_300},
                {"Id": "1123456789abcdef", "Names": ["/old"], "Image": "a:1", "Command": "sh", "State": "exited",
                 "Status": "Exited", "SizeRw": 700},
            ],
            "Volumes": [
                {"Name": "data", "UsageData": {"RefCount": 2, "Size": 30}},
                {"Name": "old", "UsageData": {"RefCount": 0, "Size": 10}},
            ],
            "BuildCache": null,
        }))
        .unwrap()
    }

    #[test]
    fn the_summary_is_dockers() {
        let rows = totals(&usage()).into_iter().map(Total::row).collect();
        assert_eq!(
            Listing { columns: COLUMNS, titles: TITLES, rows }.render(&Format::parse("")).unwrap(),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         10MB      7MB (70%)\n\
             Containers      2         1         1kB       700B (70%)\n\
             Local Volumes   2         1         40B       10B (25%)\n\
             Build Cache     0         0         0B        0B\n"
        );
    }

    #[test]
    fn the_details_are_dockers() {
        let text = verbose::text(usage(), &Format::parse("")).unwrap();
        let (images, rest) = text.split_once("\n\nContainers space usage:\n\n").unwrap();
        assert_eq!(
            images,
            "Images space usage:\n\n\
             REPOSITORY   TAG       IMAGE ID       CREATED   SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n\
             a            1         0123456789ab   N/A       4MB       1MB           3MB           1\n\
             <none>       <none>    fedcba987654   N/A       7MB       1MB           6MB           0"
        );
        let (containers, rest) = rest.split_once("\n\nLocal Volumes space usage:\n\n").unwrap();
        assert!(
            containers.starts_with("CONTAINER ID   IMAGE     COMMAND   LOCAL VOLUMES   SIZE"),
            "{containers}"
        );
        assert!(containers.contains("300B") && !containers.contains("virtual"), "{containers}");
        assert_eq!(
            rest,
            "VOLUME NAME   LINKS     SIZE\n\
             data          2         30B\n\
             old           0         10B\n\
             \n\
             Build cache usage: 0B\n\
             \n\
             CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
        );
        let json = verbose::text(usage(), &Format::parse("json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["Volumes"][0]["Links"], "2");
        assert_eq!(json["BuildCache"], json!([]));
        assert_eq!(
            verbose::text(usage(), &Format::parse("{{range .Images}}{{.Repository}} {{end}}")).unwrap(),
            "a <none> \n"
        );
    }
}
