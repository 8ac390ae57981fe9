//! `docker import`: a root file system that is sent, or that a server of the web has, becomes an image.

use api::docker::{Progress, ProgressDetail};
use engine::images::ImportOptions;
use futures_util::stream;
use tokio::sync::mpsc;

use super::transfer::{access, bar};
use super::{failure, reference};
use crate::archive::{arrived, feed};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::reply::{self, Reply};

pub(crate) async fn import(call: Call) -> Result<Reply> {
    let query = &call.query;
    let options = ImportOptions {
        reference: reference(&call)?,
        changes: query.all("changes").map(str::to_owned).collect(),
        message: query.text("message").unwrap_or_default().to_owned(),
        platform: query.text("platform").map(str::to_owned),
    };
    match query.text("fromSrc") {
        None => Err(Error::invalid("one of `fromImage` and `fromSrc` is needed")),
        Some("-") => {
            let (input, feeder) = feed(call.request.take().into_body())?;
            let imported = call.engine.images().import(input, options).await;
            Ok(reply::ok(&status(arrived(feeder, imported).await?)))
        }
        Some(source) => {
            // As Docker reads it: what names no protocol is of HTTP.
            let url = if source.contains("://") { source.to_owned() } else { format!("http://{source}") };
            from_web(call, url, options).await
        }
    }
}

/// The answer begins when the server does; what it refuses has a status of its own.
async fn from_web(call: Call, url: String, options: ImportOptions) -> Result<Reply> {
    let access = access(call.request.headers())?;
    let images = call.engine.images();
    let download = images.download(&url, &access).await?;
    let total = download.total_bytes();
    let (sender, progress) = mpsc::unbounded_channel();
    let importing = tokio::spawn(async move { images.import_download(download, options, sender).await });
    let first = reply::line(&status(format!("Downloading from {url}")));
    let steps = stream::unfold(Some((progress, importing)), move |state| async move {
        let (mut progress, importing) = state?;
        match progress.recv().await {
            Some(bytes) => Some((reply::line(&step(bytes, total)), Some((progress, importing)))),
            None => {
                let line = match importing.await {
                    Ok(Ok(id)) => reply::line(&status(id)),
                    Ok(Err(error)) => failure(&error.into()),
                    Err(_) => failure(&Error::Panicked),
                };
                Some((line, None))
            }
        }
    });
    Ok(reply::json_stream(futures_util::StreamExt::chain(stream::iter([first]), steps)))
}

fn status(status: String) -> Progress {
    Progress { status, ..Progress::default() }
}

fn step(bytes: u64, total: Option<u64>) -> Progress {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Progress {
        status: "Importing".into(),
        progress: total.map_or_else(String::new, |total| bar(bytes, total)),
        progress_detail: Some(ProgressDetail { current: number(bytes), total: total.map_or(0, number) }),
        ..Progress::default()
    }
}
