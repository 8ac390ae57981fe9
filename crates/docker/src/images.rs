//! `/images`.

use api::docker::image::{
    GraphDriver, ImageDeleteItem, ImageInspect, ImageMetadata, ImageSummary,
    ImagesPruneReport, RootFs,
};
use api::docker::{ErrorDetail, Progress, ProgressDetail};
use engine::images::{Image, ImageFilter, ImportOptions, LoadProgress, Removed};
use hyper::StatusCode;
use tokio::sync::mpsc;

use crate::answer::{self, Answer, Failure};
use crate::request::{Request, labels};
use crate::upload::Upload;
use crate::volumes::dangling;
use crate::when;

pub(crate) async fn list(request: &Request) -> Answer {
    let mut filters = request.filters(&["reference", "label", "dangling", "before", "since"])?;
    let mut take = |name: &str| filters.remove(name).unwrap_or_default();
    let filter = ImageFilter {
        references: take("reference"),
        labels: labels(&take("label")),
        dangling: dangling(&take("dangling"))?,
        before: take("before").pop(),
        since: take("since").pop(),
    };
    let images = request.engine.images().list(&filter).await?;
    let has_virtual_size = request.version < (1, 44);
    let summaries: Vec<ImageSummary> =
        images.into_iter().map(|image| summary(image, has_virtual_size)).collect();
    answer::ok(&summaries)
}

pub(crate) async fn inspect(request: &Request, name: &str) -> Answer {
    let image = request.engine.images().inspect(name).await?;
    let size = size(image.size_bytes);
    answer::ok(&ImageInspect {
        id: image.id,
        repo_tags: image.tags,
        repo_digests: image.digests,
        comment: image.config.comment.clone(),
        created: when::short(image.created_ns),
        author: image.author,
        config: Some(crate::containers::show::image_config(&image.config.config)),
        architecture: image.architecture,
        variant: image.variant,
        os: image.os,
        size,
        virtual_size: (request.version < (1, 44)).then_some(size),
        graph_driver: GraphDriver { data: None, name: "overlay".into() },
        root_fs: RootFs { kind: "layers".into(), layers: Some(image.layers) },
        metadata: ImageMetadata { last_tag_time: when::short(None) },
        ..ImageInspect::default()
    })
}

pub(crate) async fn load(request: Request) -> Answer {
    let is_quiet = request.flag("quiet");
    let images = request.engine.images();
    let (input, rest) = Upload::begin(request.into_body())?.split();
    let (lines, response) = answer::stream("application/json");
    tokio::spawn(async move {
        let (progress, mut steps) = mpsc::unbounded_channel();
        let mut loading = std::pin::pin!(images.load(input, progress));
        let loaded = loop {
            tokio::select! {
                loaded = &mut loading => break loaded,
                Some(step) = steps.recv(), if !is_quiet => drop(lines.send(answer::line(&step_line(step))).await),
            }
        };
        let is_whole = rest.is_whole().await;
        match loaded {
            Ok(_) if !is_whole => send_failure(&lines, "the archive was cut short".into()).await,
            Ok(loaded) => {
                for image in loaded {
                    let stream = match image.name {
                        Some(name) => format!("Loaded image: {name}\n"),
                        None => format!("Loaded image ID: {}\n", image.id),
                    };
                    // A client that has gone does not need to know.
                    drop(lines.send(answer::line(&Progress { stream, ..Progress::default() })).await);
                }
            }
            Err(error) => send_failure(&lines, error.chain()).await,
        }
    });
    Ok(response)
}

/// `fromSrc=-`: an image of a root file system's tar. `fromImage=`: a pull, which is not there yet.
pub(crate) async fn create(request: Request) -> Answer {
    if let Some(name) = request.query("fromImage") {
        return Err(Failure::not_there_yet(&format!("pulling {name}")));
    }
    if request.query("fromSrc") != Some("-") {
        return Err(Failure::not_there_yet("importing from an address"));
    }
    let reference = request.query("repo").map(|repository| match request.query("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    });
    let options = ImportOptions {
        reference,
        changes: request.query_all("changes"),
        message: request.query("message").unwrap_or_default().to_owned(),
        platform: request.query("platform").map(str::to_owned),
    };
    let images = request.engine.images();
    let (input, rest) = Upload::begin(request.into_body())?.split();
    let imported = images.import(input, options).await;
    let is_whole = rest.is_whole().await;
    let id = imported?;
    if !is_whole {
        return Err(Failure::bad("the archive was cut short"));
    }
    answer::ok(&Progress { status: id, ..Progress::default() })
}

pub(crate) async fn tag(request: &Request, name: &str) -> Answer {
    let repository = request.query("repo").ok_or_else(|| Failure::bad("`repo` is missing"))?;
    let target = match request.query("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    request.engine.images().tag(name, &target).await?;
    Ok(answer::empty(StatusCode::CREATED))
}

pub(crate) async fn remove(request: &Request, name: &str) -> Answer {
    let removed = request.engine.images().remove(name, request.flag("force")).await?;
    let items: Vec<ImageDeleteItem> = removed.into_iter().map(delete_item).collect();
    answer::ok(&items)
}

pub(crate) async fn prune(request: &Request) -> Answer {
    let mut filters = request.filters(&["dangling", "label"])?;
    let all = dangling(&filters.remove("dangling").unwrap_or_default())? == Some(false);
    let labels = labels(&filters.remove("label").unwrap_or_default());
    let pruned = request.engine.images().prune(all, &labels).await?;
    let items: Vec<ImageDeleteItem> = pruned.removed.into_iter().map(delete_item).collect();
    answer::ok(&ImagesPruneReport {
        images_deleted: (!items.is_empty()).then_some(items),
        space_reclaimed: size(pruned.reclaimed_bytes),
    })
}

fn summary(image: Image, has_virtual_size: bool) -> ImageSummary {
    let size = size(image.size_bytes);
    ImageSummary {
        containers: -1,
        created: image.created_ns.unwrap_or_default() / 1_000_000_000,
        id: image.id,
        labels: (!image.config.config.labels.is_empty()).then(|| image.config.config.labels.clone()),
        parent_id: String::new(),
        repo_digests: image.digests,
        repo_tags: image.tags,
        shared_size: -1,
        size,
        virtual_size: has_virtual_size.then_some(size),
    }
}

fn delete_item(removed: Removed) -> ImageDeleteItem {
    match removed {
        Removed::Untagged(untagged) => ImageDeleteItem { untagged, deleted: String::new() },
        Removed::Deleted(deleted) => ImageDeleteItem { untagged: String::new(), deleted },
    }
}

fn step_line(step: LoadProgress) -> Progress {
    Progress {
        id: step.id,
        status: step.status,
        progress_detail: Some(ProgressDetail {
            current: size(step.current_bytes),
            total: step.total_bytes.map(size).unwrap_or_default(),
        }),
        ..Progress::default()
    }
}

async fn send_failure(lines: &mpsc::Sender<bytes::Bytes>, message: String) {
    let detail = ErrorDetail { code: 0, message: message.clone() };
    let line = Progress { error_detail: Some(detail), error: message, ..Progress::default() };
    // A client that has gone does not need to know.
    drop(lines.send(answer::line(&line)).await);
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
