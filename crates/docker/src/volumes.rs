//! Volumes.

use api::docker::volume::{Volume, VolumeCreateBody, VolumeList, VolumesPruneReport};
use engine::volumes::VolumeFilter;
use hyper::StatusCode;

use crate::call::{ApiVersion, Call};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::time;

/// The only driver: directories below the daemon's root.
pub(crate) const DRIVER: &str = "local";

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["dangling", "driver", "label", "name"])?;
    let wanted = filters.values("driver");
    let filter = VolumeFilter {
        names: filters.values("name").to_vec(),
        labels: filters.labels(),
        dangling: filters.flag("dangling")?,
    };
    let has_driver = wanted.is_empty() || wanted.iter().any(|driver| driver == DRIVER);
    let found = if has_driver { call.engine.volumes().list(&filter).await? } else { Vec::new() };
    Ok(reply::ok(&VolumeList { volumes: found.into_iter().map(describe).collect(), warnings: None }))
}

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: VolumeCreateBody = call.optional_body().await?.unwrap_or_default();
    if !matches!(body.driver.as_str(), "" | DRIVER) {
        return Err(Error::not_there_yet(format!("the volume driver `{}`", body.driver)));
    }
    if body.driver_opts.is_some_and(|options| !options.is_empty()) {
        return Err(Error::not_there_yet("`--opt` of volumes (field DriverOpts)"));
    }
    if body.cluster_volume_spec.is_some() {
        return Err(Error::not_there_yet("cluster volumes (field ClusterVolumeSpec)"));
    }
    let name = Some(body.name.as_str()).filter(|name| !name.is_empty());
    let volume = call.engine.volumes().create(name, body.labels.unwrap_or_default()).await?;
    Ok(reply::json(StatusCode::CREATED, &describe(volume)))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    Ok(reply::ok(&describe(call.engine.volumes().inspect(&call.name).await?)))
}

pub(crate) async fn remove(call: Call) -> Result<Reply> {
    call.engine.volumes().remove(&call.name, call.query.flag("force")).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Since API 1.42 only anonymous volumes, unless `all` is asked for; before, all.
pub(crate) async fn prune(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["all", "label", "label!"])?;
    let all = filters.flag("all")?.unwrap_or(call.version < ApiVersion::new(1, 42));
    let (removed, reclaimed_bytes) = call.engine.volumes().prune(all, &filters.prune()?).await?;
    Ok(reply::ok(&VolumesPruneReport {
        volumes_deleted: Some(removed).filter(|names| !names.is_empty()),
        space_reclaimed: i64::try_from(reclaimed_bytes).unwrap_or(i64::MAX),
    }))
}

pub(crate) fn describe(volume: engine::volumes::Volume) -> Volume {
    Volume {
        created_at: time::rfc3339(Some(time::seconds(volume.created_ns) * 1_000_000_000)),
        driver: DRIVER.into(),
        labels: Some(volume.labels).filter(|labels| !labels.is_empty()),
        mountpoint: volume.mountpoint,
        name: volume.name,
        options: Some(volume.options).filter(|options| !options.is_empty()),
        scope: "local".into(),
        usage_data: None,
    }
}
