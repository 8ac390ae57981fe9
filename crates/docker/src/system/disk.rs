//! `GET /system/df`: what everything takes of the disk.

use api::docker::container::ContainerSummary;
use api::docker::image::ImageSummary;
use api::docker::system::{BuildCachePruneReport, DiskUsage};
use api::docker::volume::{Volume, VolumeUsage};

use crate::call::{ApiVersion, Call};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::{containers, images, time, volumes};

/// Since then clients may ask for some kinds only, and learn nothing of the builder beside its cache.
const KINDS_SINCE: ApiVersion = ApiVersion::new(1, 42);
const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

pub(crate) async fn usage(call: Call) -> Result<Reply> {
    let wanted: Vec<&str> =
        if call.version < KINDS_SINCE { Vec::new() } else { call.query.all("type").collect() };
    if let Some(odd) = wanted.iter().find(|kind| !KINDS.contains(kind)) {
        return Err(Error::invalid(format!("unknown object type: {odd}")));
    }
    let wants = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let mut usage = DiskUsage {
        builder_size: (call.version < KINDS_SINCE).then_some(0),
        // Nothing is built here yet.
        build_cache: wants("build-cache").then(Vec::new),
        ..DiskUsage::default()
    };
    if wants("image") {
        let found = call.engine.images().usage().await?;
        usage.layers_size = bytes(found.layer_bytes);
        let summaries = found.images.iter().map(|image| ImageSummary {
            containers: i64::try_from(image.containers).unwrap_or(i64::MAX),
            ..images::summarize(image, call.version)
        });
        usage.images = Some(summaries.collect());
    }
    if wants("container") {
        let now_ns = time::now_ns();
        let found = call.engine.containers().usage_of_all().await?;
        let summaries = found.iter().map(|(container, used)| ContainerSummary {
            size_rw: Some(bytes(used.writable_bytes)),
            size_root_fs: Some(bytes(used.total_bytes)),
            ..containers::list::summarize(container, now_ns, call.version)
        });
        usage.containers = Some(summaries.collect());
    }
    if wants("volume") {
        let found = call.engine.volumes().usage().await?;
        usage.volumes = Some(found.into_iter().map(|(volume, used)| describe(volume, used)).collect());
    }
    Ok(reply::ok(&usage))
}

/// Removes what builds have left: nothing, because nothing is built here yet.
pub(crate) async fn prune_builds(call: Call) -> Result<Reply> {
    const FILTERS: [&str; 10] = [
        "description",
        "id",
        "inuse",
        "mutable",
        "parent",
        "private",
        "shared",
        "type",
        "unused-for",
        "until",
    ];
    Filters::parse(&call.query, &FILTERS)?;
    Ok(reply::ok(&BuildCachePruneReport::default()))
}

fn describe(volume: engine::volumes::Volume, used_bytes: u64) -> Volume {
    let ref_count = i64::try_from(volume.used_by.len()).unwrap_or(i64::MAX);
    Volume {
        usage_data: Some(VolumeUsage { ref_count, size: bytes(used_bytes) }),
        // Nobody is answered an empty map here.
        ..volumes::describe(volume, crate::call::MAX_VERSION)
    }
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
