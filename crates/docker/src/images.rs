//! Images.

mod import;
pub(crate) mod inspect;
pub(crate) mod save;
pub(crate) mod transfer;

use api::docker::image::{ImageDeleteItem, ImageHistoryItem, ImageSummary, ImagesPruneReport};
use api::docker::{ErrorDetail, Progress, ProgressDetail};
use bytes::Bytes;
use engine::images::{Image, ImageFilter, LoadProgress, Loaded, Removed};
use futures_util::stream;
use hyper::StatusCode;
use tokio::sync::mpsc;

use crate::archive::{arrived, feed};
use crate::call::{ApiVersion, Call};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::time;

/// Until here an image without a name has `<none>:<none>`.
const EMPTY_TAGS_SINCE: ApiVersion = ApiVersion::new(1, 43);
/// Until here `VirtualSize` repeats `Size`.
const NO_VIRTUAL_SIZE_SINCE: ApiVersion = ApiVersion::new(1, 44);

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let filters = Filters::parse(
        &call.query,
        &["before", "dangling", "label", "label!", "reference", "since", "until"],
    )?;
    let filter = ImageFilter {
        references: filters.values("reference").to_vec(),
        labels: filters.labels(),
        dangling: filters.flag("dangling")?,
        before: filters.single("before")?,
        since: filters.single("since")?,
        kept_labels: filters.kept_labels(),
        until_ns: filters.until_ns()?,
        with_shares: call.query.flag("shared-size"),
    };
    let images = call.engine.images().list(&filter).await?;
    let mut summaries: Vec<ImageSummary> =
        images.iter().map(|image| summarize(image, call.version)).collect();
    if call.query.flag("manifests") && call.version >= inspect::MANIFESTS_LISTED_SINCE {
        for summary in &mut summaries {
            summary.manifests = Some(inspect::manifests(&call, &summary.id).await?);
        }
    }
    Ok(reply::ok(&summaries))
}

pub(crate) async fn history(call: Call) -> Result<Reply> {
    call.query.refuse(&["platform"])?;
    let images = call.engine.images();
    let image = images.inspect(&call.name).await?;
    let steps = images.history(&image.id).await?;
    let last = |index: usize| index == 0;
    let items = steps.into_iter().enumerate().map(|(index, step)| ImageHistoryItem {
        // Docker's word for images that only a build on this machine would have.
        id: if last(index) { image.id.clone() } else { "<missing>".into() },
        created: step.created_ns.map_or(0, time::seconds),
        created_by: step.created_by,
        tags: Some(image.tags.clone()).filter(|tags| last(index) && !tags.is_empty()),
        size: i64::try_from(step.size_bytes).unwrap_or(i64::MAX),
        comment: step.comment,
    });
    Ok(reply::ok(&items.collect::<Vec<_>>()))
}

pub(crate) async fn tag(call: Call) -> Result<Reply> {
    let target = reference(&call)?
        .ok_or_else(|| Error::invalid("repository name must have at least one component"))?;
    let name = oci::reference::Reference::parse_normalized(&target);
    if name.is_ok_and(|name| name.familiar_repository() == "sha256") {
        return Err(Error::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
    }
    call.engine.images().tag(&call.name, &target).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

pub(crate) async fn remove(call: Call) -> Result<Reply> {
    let removed = call.engine.images().remove(&call.name, call.query.flag("force")).await;
    // What cannot be a name is told as such.
    let removed = removed.map_err(|error| match oci::reference::Reference::parse_normalized(&call.name) {
        Err(wrong) if error.code() == api::code::Code::NotFound => Error::invalid(wrong.to_string()),
        _ => Error::from(error),
    })?;
    Ok(reply::ok(&removed.into_iter().map(removal).collect::<Vec<_>>()))
}

pub(crate) async fn prune(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &["dangling", "label", "label!", "until"])?;
    let all = filters.flag("dangling")? == Some(false);
    let pruned = call.engine.images().prune(all, &filters.prune()?).await?;
    let removed: Vec<_> = pruned.removed.into_iter().map(removal).collect();
    Ok(reply::ok(&ImagesPruneReport {
        images_deleted: Some(removed).filter(|removed| !removed.is_empty()),
        space_reclaimed: i64::try_from(pruned.reclaimed_bytes).unwrap_or(i64::MAX),
    }))
}

/// A pull (`fromImage=`) or an import (`fromSrc=`).
pub(crate) async fn create(call: Call) -> Result<Reply> {
    if let Some(image) = call.query.text("fromImage") {
        let image = image.to_owned();
        return transfer::pull(call, &image).await;
    }
    import::import(call).await
}

/// The answer begins with the first thing to say; an error before it has its own status.
pub(crate) async fn load(call: Call) -> Result<Reply> {
    call.query.refuse(&["platform"])?;
    let quiet = call.query.flag("quiet");
    let (input, feeder) = feed(call.request.take().into_body())?;
    let (sender, mut progress) = mpsc::unbounded_channel();
    let images = call.engine.images();
    let mut loading = tokio::spawn(async move {
        let loaded = images.load(input, sender).await;
        arrived(feeder, loaded).await
    });
    let first = if quiet { None } else { progress.recv().await };
    let Some(first) = first else {
        return Ok(reply::json_stream(stream::iter(finished((&mut loading).await)?)));
    };
    let steps = stream::unfold(Some((Some(first), progress, loading)), |state| async move {
        let (next, mut progress, mut loading) = state?;
        match next {
            Some(step) => {
                let line = reply::line(&describe_step(step));
                let next = progress.recv().await;
                Some((line, Some((next, progress, loading))))
            }
            None => {
                let lines = finished((&mut loading).await).unwrap_or_else(|error| vec![failure(&error)]);
                Some((lines.concat().into(), None))
            }
        }
    });
    Ok(reply::json_stream(steps))
}

type Finished = std::result::Result<Result<Vec<Loaded>>, tokio::task::JoinError>;

fn finished(loaded: Finished) -> Result<Vec<Bytes>> {
    let loaded = loaded.map_err(|_| Error::Panicked)??;
    let lines = loaded.into_iter().map(|image| match image.name {
        Some(name) => format!("Loaded image: {name}\n"),
        None => format!("Loaded image ID: {}\n", image.id),
    });
    Ok(lines.map(|stream| reply::line(&Progress { stream, ..Progress::default() })).collect())
}

fn failure(error: &Error) -> Bytes {
    let message = error.to_string();
    reply::line(&Progress {
        error_detail: Some(ErrorDetail { code: 0, message: message.clone() }),
        error: message,
        ..Progress::default()
    })
}

fn describe_step(step: LoadProgress) -> Progress {
    let bytes = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Progress {
        status: step.status,
        id: step.id,
        progress: step.total_bytes.map_or_else(String::new, |total| transfer::bar(step.current_bytes, total)),
        progress_detail: Some(ProgressDetail {
            current: bytes(step.current_bytes),
            total: step.total_bytes.map_or(0, bytes),
        }),
        ..Progress::default()
    }
}

/// `repo` and `tag` as one name.
pub(crate) fn reference(call: &Call) -> Result<Option<String>> {
    let Some(repository) = call.query.text("repo") else { return Ok(None) };
    let name = match call.query.text("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    match oci::reference::Reference::parse_normalized(&name) {
        Ok(_) => Ok(Some(name)),
        Err(error) => Err(Error::invalid(error.to_string())),
    }
}

fn removal(removed: Removed) -> ImageDeleteItem {
    match removed {
        Removed::Untagged(untagged) => ImageDeleteItem { untagged, ..ImageDeleteItem::default() },
        Removed::Deleted(deleted) => ImageDeleteItem { deleted, ..ImageDeleteItem::default() },
    }
}

pub(crate) fn summarize(image: &Image, version: ApiVersion) -> ImageSummary {
    let size = i64::try_from(image.size_bytes).unwrap_or(i64::MAX);
    let nameless = image.tags.is_empty() && version < EMPTY_TAGS_SINCE;
    let names = |names: &[String], none: &str| if nameless { vec![none.to_owned()] } else { names.to_vec() };
    ImageSummary {
        containers: -1,
        created: image.created_ns.map_or(0, time::seconds),
        id: image.id.clone(),
        labels: Some(image.config.config.labels.clone()).filter(|labels| !labels.is_empty()),
        parent_id: String::new(),
        repo_digests: if nameless && !image.digests.is_empty() {
            image.digests.clone()
        } else {
            names(&image.digests, "<none>@<none>")
        },
        repo_tags: names(&image.tags, "<none>:<none>"),
        shared_size: image.shared_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        size,
        virtual_size: (version < NO_VIRTUAL_SIZE_SINCE).then_some(size),
        manifests: None,
    }
}
