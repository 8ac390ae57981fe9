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
    Ok(reply::ok(&VolumeList {
        volumes: found.into_iter().map(|volume| describe(volume, call.version)).collect(),
        warnings: None,
    }))
}

pub(crate) async fn create(mut call: Call) -> Result<Reply> {
    let body: VolumeCreateBody = call.optional_body().await?.unwrap_or_default();
    check_driver(&body.driver).map_err(|error| Error::NotFound(format!("create {}: {error}", body.name)))?;
    if body.cluster_volume_spec.is_some() {
        return Err(Error::not_there_yet("cluster volumes (field ClusterVolumeSpec)"));
    }
    let name = Some(body.name.as_str()).filter(|name| !name.is_empty());
    let (labels, options) = (body.labels.unwrap_or_default(), body.driver_opts.unwrap_or_default());
    let volume = call.engine.volumes().create(name, labels, options).await?;
    Ok(reply::json(StatusCode::CREATED, &describe(volume, call.version)))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    Ok(reply::ok(&describe(call.engine.volumes().inspect(&call.name).await?, call.version)))
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

/// Only [`DRIVER`] is there; others would be plugins.
pub(crate) fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | DRIVER => Ok(()),
        other => {
            Err(Error::invalid(format!("error looking up volume plugin {other}: plugin {other:?} not found")))
        }
    }
}

/// Only volumes of a swarm can be changed.
pub(crate) async fn update(_: Call) -> Result<Reply> {
    Err(Error::Unavailable("volume update only valid for cluster volumes, but swarm is unavailable".into()))
}

/// The first version whose clients say nothing, rather than an empty map, of options that they do not have.
const NO_OPTIONS_ARE_NULL: ApiVersion = ApiVersion::new(1, 42);

pub(crate) fn describe(volume: engine::volumes::Volume, version: ApiVersion) -> Volume {
    let shows_none = version < NO_OPTIONS_ARE_NULL;
    Volume {
        created_at: time::rfc3339(Some(time::seconds(volume.created_ns) * 1_000_000_000)),
        driver: DRIVER.into(),
        labels: Some(volume.labels).filter(|labels| !labels.is_empty()),
        mountpoint: volume.mountpoint,
        name: volume.name,
        options: Some(volume.options).filter(|options| shows_none || !options.is_empty()),
        scope: "local".into(),
        usage_data: None,
    }
}
