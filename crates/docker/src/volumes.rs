//! `/volumes`.

use api::docker::volume::{Volume, VolumeCreateBody, VolumeList, VolumesPruneReport};
use engine::volumes::VolumeFilter;
use hyper::StatusCode;

use crate::answer::{self, Answer, Failure};
use crate::request::{Request, labels};
use crate::when;

pub(crate) async fn list(request: &Request) -> Answer {
    let mut filters = request.filters(&["name", "label", "dangling", "driver"])?;
    let mut take = |name: &str| filters.remove(name).unwrap_or_default();
    let filter = VolumeFilter {
        names: take("name"),
        labels: labels(&take("label")),
        dangling: dangling(&take("dangling"))?,
    };
    let drivers = take("driver");
    let has_local = drivers.is_empty() || drivers.iter().any(|driver| driver == "local");
    let volumes = if has_local { request.engine.volumes().list(&filter).await? } else { Vec::new() };
    answer::ok(&VolumeList { volumes: volumes.into_iter().map(wire).collect(), warnings: None })
}

pub(crate) async fn create(mut request: Request) -> Answer {
    let body: VolumeCreateBody = request.json().await?;
    if !matches!(body.driver.as_str(), "" | "local") {
        return Err(Failure::not_there_yet(&format!("the volume driver `{}`", body.driver)));
    }
    if body.driver_opts.is_some_and(|options| !options.is_empty()) {
        return Err(Failure::not_there_yet("options of the volume driver `local`"));
    }
    if body.cluster_volume_spec.is_some() {
        return Err(Failure::not_there_yet("cluster volumes"));
    }
    let name = (!body.name.is_empty()).then_some(body.name.as_str());
    let volume = request.engine.volumes().create(name, body.labels.unwrap_or_default()).await?;
    Ok(answer::json(StatusCode::CREATED, &wire(volume)))
}

pub(crate) async fn inspect(request: &Request, name: &str) -> Answer {
    answer::ok(&wire(request.engine.volumes().inspect(name).await?))
}

pub(crate) async fn remove(request: &Request, name: &str) -> Answer {
    request.engine.volumes().remove(name, request.flag("force")).await?;
    answer::done(true)
}

pub(crate) async fn prune(request: &Request) -> Answer {
    let mut filters = request.filters(&["label", "all"])?;
    // Clients before 1.42 do not know anonymous from named ones, and mean all.
    let all = request.version < (1, 42) || filters.remove("all").is_some_and(|values| values == ["true"]);
    let labels = labels(&filters.remove("label").unwrap_or_default());
    let (names, bytes) = request.engine.volumes().prune(all, &labels).await?;
    answer::ok(&VolumesPruneReport {
        volumes_deleted: Some(names),
        space_reclaimed: i64::try_from(bytes).unwrap_or(i64::MAX),
    })
}

/// The values of a `dangling` filter.
pub(crate) fn dangling(values: &[String]) -> Result<Option<bool>, Failure> {
    match values {
        [] => Ok(None),
        [value] if matches!(value.as_str(), "true" | "1") => Ok(Some(true)),
        [value] if matches!(value.as_str(), "false" | "0") => Ok(Some(false)),
        _ => Err(Failure::bad(format!("invalid filter 'dangling={}'", values.join(",")))),
    }
}

fn wire(volume: engine::volumes::Volume) -> Volume {
    Volume {
        created_at: when::short(Some(volume.created_ns)),
        driver: "local".into(),
        labels: (!volume.labels.is_empty()).then_some(volume.labels),
        mountpoint: volume.mountpoint,
        name: volume.name,
        options: (!volume.options.is_empty()).then_some(volume.options),
        scope: "local".into(),
    }
}
