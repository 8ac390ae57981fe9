//! `ctr images export`: into an archive, by the daemon or by this side.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use api::any;
use api::types::transfer::{ImageExportStream, ImageReference};
use tokio::io::AsyncWrite;

use super::pull::messages;
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::local::export::Export;
use crate::registry;
use crate::transfer::progress::Shown;
use crate::transfer::{self, Ends, Stream, bytes};

pub(crate) async fn export(call: &Call) -> Result<u8, Error> {
    let (path, names) = (call.operand(0), call.operands.get(1..).unwrap_or_default());
    if path.is_empty() || names.is_empty() {
        return Err(Error::Usage(
            "please provide both an output filename and an image reference to export".into(),
        ));
    }
    let client = Client::connect(call).await?;
    let way = transfer::way(call, &client, &[]).await?;
    let output = Output::open(path)?;
    match way {
        Some(progress) => by_daemon(call, &client, output.writer()?, progress).await,
        None => {
            let export = Export {
                client: &client,
                platforms: registry::platforms(call)?,
                skip_docker: call.is("skip-manifest-json"),
                skip_bound: call.is("skip-non-distributable"),
            };
            export.run(names, output.file()?).await
        }
    }?;
    output.keep();
    Ok(0)
}

/// Where the archive goes. A file that is not whole goes again.
struct Output {
    path: Option<PathBuf>,
    file: Option<std::fs::File>,
    is_whole: bool,
}

impl Output {
    fn open(path: &str) -> Result<Output, Error> {
        if path == "-" {
            return Ok(Output { path: None, file: None, is_whole: false });
        }
        let failed = |source| Error::File { what: format!("open {path}"), source };
        let file = std::fs::File::create(path).map_err(failed)?;
        let is_file = file.metadata().map_err(failed)?.is_file();
        Ok(Output { path: is_file.then(|| Path::new(path).to_owned()), file: Some(file), is_whole: false })
    }

    fn file(&self) -> Result<Box<dyn std::io::Write>, Error> {
        Ok(match &self.file {
            Some(file) => Box::new(file.try_clone().map_err(copied)?),
            None => Box::new(std::io::stdout()),
        })
    }

    fn writer(&self) -> Result<Pin<Box<dyn AsyncWrite>>, Error> {
        Ok(match &self.file {
            Some(file) => Box::pin(tokio::fs::File::from_std(file.try_clone().map_err(copied)?)),
            None => Box::pin(tokio::io::stdout()),
        })
    }

    fn keep(mut self) {
        self.is_whole = true;
    }
}

fn copied(source: std::io::Error) -> Error {
    Error::File { what: "open the archive".into(), source }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| !self.is_whole) {
            // The failure has been told; what is left of the file is of no use, and nobody can be told more.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn by_daemon(
    call: &Call,
    client: &Client,
    output: Pin<Box<dyn AsyncWrite>>,
    progress: Stream,
) -> Result<(), Error> {
    let mut names = call.operands[1..].iter();
    let mut store = transfer::store(names.next().map_or("", String::as_str), &[], &[], "");
    store.extra_references =
        names.map(|name| ImageReference { name: name.clone(), ..ImageReference::default() }).collect();
    let stream = Stream::open(client, "export").await?;
    let destination = ImageExportStream {
        stream: stream.id.clone(),
        platforms: messages(&registry::platforms(call)?),
        all_platforms: call.is("all-platforms"),
        skip_compatibility_manifest: call.is("skip-manifest-json"),
        skip_non_distributable: call.is("skip-non-distributable"),
        ..ImageExportStream::default()
    };
    let ends = (any::pack(&store), any::pack(&destination));
    let is_done = Cell::new(false);
    let beside = (bytes::receive(stream, output, &is_done), Ends::ByItself(&is_done));
    transfer::run(client, progress, ends, beside, Shown::nothing()).await
}
