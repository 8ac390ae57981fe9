//! `GET /images/{name}/json`: everything about an image.

use api::docker::container::Config;
use api::docker::image::{
    DistributionPlatform, GraphDriver, ImageInspect, ImageMetadata, ManifestImage, ManifestSizes,
    ManifestSummary, RootFs, UnpackedSize, WireDescriptor,
};
use api::docker::{Command, Present};
use engine::containers::ListFilter;
use engine::images::{ImageDetails, Manifest, ManifestKind};
use oci::descriptor::Descriptor;
use oci::image_config::{Healthcheck, ImageConfig};

use super::NO_VIRTUAL_SIZE_SINCE;
use crate::call::{ApiVersion, Call};
use crate::error::Result;
use crate::reply::{self, Reply};
use crate::time;

/// Until here an image tells of the container that it was made of.
const NO_CONTAINER_SINCE: ApiVersion = ApiVersion::new(1, 45);
pub(super) const MANIFESTS_LISTED_SINCE: ApiVersion = ApiVersion::new(1, 47);
const MANIFESTS_SINCE: ApiVersion = ApiVersion::new(1, 48);
/// Since then what only containers have, and what is empty, is left out of an image's configuration.
const BARE_CONFIG_SINCE: ApiVersion = ApiVersion::new(1, 50);

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    call.query.refuse(&["platform"])?;
    let details = call.engine.images().details(&call.name).await?;
    let mut shown = describe(&details, call.version);
    if call.query.flag("manifests") && call.version >= MANIFESTS_SINCE {
        shown.manifests = Some(manifests(&call, &details.image.id).await?);
    }
    Ok(reply::ok(&shown))
}

/// The manifests of an image, with the containers that were made of each.
pub(super) async fn manifests(call: &Call, image: &str) -> Result<Vec<ManifestSummary>> {
    let details = call.engine.images().details(image).await?;
    let filter = ListFilter { all: true, ..ListFilter::default() };
    let containers = call.engine.containers().list(&filter).await?;
    let users = |id: &str| {
        let users = containers.iter().filter(|container| container.image_id == id);
        users.map(|container| container.id.clone()).collect()
    };
    Ok(details.manifests.iter().map(|manifest| summarize(manifest, users)).collect())
}

fn describe(details: &ImageDetails, version: ApiVersion) -> ImageInspect {
    let ImageDetails { image, .. } = details;
    let size = i64::try_from(image.size_bytes).unwrap_or(i64::MAX);
    let tells_container = version < NO_CONTAINER_SINCE;
    ImageInspect {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        comment: image.config.comment.clone(),
        created: image.created_ns.map(|created| time::rfc3339(Some(created))).unwrap_or_default(),
        container: tells_container.then(String::new),
        container_config: tells_container.then(Config::default),
        author: image.author.clone(),
        config: Some(config(&image.config, version)),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        size,
        virtual_size: (version < NO_VIRTUAL_SIZE_SINCE).then_some(size),
        graph_driver: graph_driver(details),
        root_fs: RootFs { kind: "layers".into(), layers: Some(image.layers.clone()) },
        metadata: ImageMetadata { last_tag_time: time::rfc3339(details.named_ns) },
        descriptor: (version >= MANIFESTS_SINCE).then(|| wire(&details.target)),
        ..ImageInspect::default()
    }
}

/// Docker's names of where the layers are.
fn graph_driver(details: &ImageDetails) -> GraphDriver {
    let paths: Vec<String> = details.directories.iter().map(|path| path.display().to_string()).collect();
    let data = paths.split_first().map(|(upper, lower)| {
        let mut data = std::collections::BTreeMap::from([("UpperDir".to_owned(), upper.clone())]);
        if !lower.is_empty() {
            data.insert("LowerDir".to_owned(), lower.join(":"));
        }
        data
    });
    GraphDriver { name: "overlay".into(), data }
}

fn summarize(manifest: &Manifest, users: impl Fn(&str) -> Vec<String>) -> ManifestSummary {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut summary = ManifestSummary {
        id: manifest.descriptor.digest.to_string(),
        descriptor: wire(&manifest.descriptor),
        available: manifest.is_available,
        kind: "image".into(),
        size: ManifestSizes {
            content: number(manifest.content_bytes),
            total: number(manifest.content_bytes),
        },
        ..ManifestSummary::default()
    };
    match &manifest.kind {
        ManifestKind::Image { platform, id, unpacked_bytes } => {
            summary.size.total = number(manifest.content_bytes.saturating_add(*unpacked_bytes));
            summary.image_data = Some(ManifestImage {
                platform: DistributionPlatform {
                    architecture: platform.architecture.clone(),
                    os: platform.os.clone(),
                    variant: platform.variant.clone(),
                },
                containers: id.as_ref().map(|id| users(id.as_str())).unwrap_or_default(),
                size: UnpackedSize { unpacked: number(*unpacked_bytes) },
            });
        }
        ManifestKind::Attestation { of } => {
            summary.kind = "attestation".into();
            summary.attestation_data = Some([("For".to_owned(), of.clone())].into());
        }
    }
    summary
}

fn wire(descriptor: &Descriptor) -> WireDescriptor {
    WireDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
    }
}

fn config(image: &ImageConfig, version: ApiVersion) -> serde_json::Value {
    let mut config = serde_json::to_value(describe_config(image)).expect("it has text keys");
    if version >= BARE_CONFIG_SINCE
        && let Some(fields) = config.as_object_mut()
    {
        use serde_json::Value;
        let is_kept = |name: &str| matches!(name, "User" | "OnBuild");
        let is_empty = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || value == "";
        fields.retain(|name, value| is_kept(name) || !is_empty(value));
    }
    config
}

fn describe_config(image: &ImageConfig) -> Config {
    let config = &image.config;
    let set = |names: &std::collections::BTreeSet<String>| {
        Some(names.iter().map(|name| (name.clone(), Present)).collect()).filter(|_| !names.is_empty())
    };
    let list = |texts: &[String]| Some(texts.to_vec()).filter(|texts| !texts.is_empty());
    Config {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: list(&config.env),
        cmd: config.cmd.clone().map(Command),
        healthcheck: config.healthcheck.as_ref().map(describe_healthcheck),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone().map(Command),
        on_build: list(&config.on_build),
        labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone().map(Command),
        ..Config::default()
    }
}

fn describe_healthcheck(check: &Healthcheck) -> api::docker::container::Healthcheck {
    api::docker::container::Healthcheck {
        test: Some(check.test.clone()).filter(|test| !test.is_empty()),
        interval: check.interval.unwrap_or_default(),
        timeout: check.timeout.unwrap_or_default(),
        start_period: check.start_period.unwrap_or_default(),
        start_interval: check.start_interval.unwrap_or_default(),
        retries: check.retries.unwrap_or_default(),
    }
}
