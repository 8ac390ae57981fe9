//! `ctr content`: blobs, and uploads under way.

use std::fmt::Write;
use std::io::{self, Read, Write as _};

use bytes::{Buf, Bytes};
use grpc::content::{
    AbortRequest, DeleteContentRequest, Info, ListContentRequest, ListStatusesRequest, ReadContentRequest,
    UpdateRequest,
};
use prost_types::FieldMask;
use tonic::Streaming;

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::{labels, output, table, text};

pub(crate) mod prune;
pub(crate) mod remote;
pub(crate) mod write;

use write::{Source, Upload, write};

/// Pieces of a blob that wait for a registry.
const PIECES_MAX: usize = 4;
/// A document of an image (index, manifest, configuration) is not larger; what is, is none.
const DOCUMENT_LIMIT_BYTES: usize = 8 << 20;

pub(crate) async fn get(call: &Call) -> Result<u8, Error> {
    let digest = digest(call.operand(0))?;
    let client = Client::connect(call).await?;
    let mut chunks = read(&client, &digest).await?;
    while let Some(chunk) = chunks.message().await? {
        output::bytes(&chunk.data)?;
    }
    Ok(0)
}

pub(crate) fn digest(text: &str) -> Result<String, Error> {
    let invalid = |part: &str| Error::Usage(format!("invalid checksum digest {part}"));
    let Some((algorithm, digits)) = text.split_once(':') else { return Err(invalid("format")) };
    match (algorithm, digits.len()) {
        ("sha256", 64) | ("sha384", 96) | ("sha512", 128) => {}
        ("sha256" | "sha384" | "sha512", _) => return Err(invalid("length")),
        _ => return Err(Error::Usage("unsupported digest algorithm".into())),
    }
    match oci::digest::Digest::parse(text) {
        Ok(digest) => Ok(digest.to_string()),
        Err(_) => Err(invalid("format")),
    }
}

async fn read(client: &Client, digest: &str) -> Result<Streaming<grpc::content::ReadContentResponse>, Error> {
    let request = ReadContentRequest { digest: digest.into(), offset: 0, size: 0 };
    Ok(client.content().read(request).await?.into_inner())
}

/// A blob's pieces, as they come; of whom nobody reads any more, nothing more is asked.
pub(crate) fn pieces(client: &Client, digest: &str) -> image::remote::Pieces {
    let (sink, pieces) = tokio::sync::mpsc::channel(PIECES_MAX);
    let (client, digest) = (client.clone(), digest.to_owned());
    tokio::spawn(async move {
        let failed = |error: Error| std::io::Error::other(error.to_string());
        let mut chunks = match read(&client, &digest).await {
            Ok(chunks) => chunks,
            Err(error) => return drop(sink.send(Err(failed(error))).await),
        };
        loop {
            let piece = match chunks.message().await {
                Ok(None) => return,
                Ok(Some(chunk)) => Ok(chunk.data),
                Err(status) => Err(failed(status.into())),
            };
            let is_over = piece.is_err();
            if sink.send(piece).await.is_err() || is_over {
                return;
            }
        }
    });
    pieces
}

/// The bytes of a blob as they come, for a thread that may wait.
pub(crate) struct Blob {
    pieces: image::remote::Pieces,
    piece: Bytes,
}

impl Blob {
    /// Begins to read.
    pub(crate) fn open(client: &Client, digest: &str) -> Blob {
        Blob { pieces: pieces(client, digest), piece: Bytes::new() }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// A document of an image, whole.
pub(crate) async fn document(client: &Client, digest: &str) -> Result<Vec<u8>, Error> {
    let mut chunks = read(client, digest).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend_from_slice(&chunk.data);
        if bytes.len() > DOCUMENT_LIMIT_BYTES {
            let reason = format!("it is larger than {DOCUMENT_LIMIT_BYTES} bytes");
            return Err(Error::Document { what: format!("content {digest}"), reason });
        }
    }
    Ok(bytes)
}

pub(crate) async fn ingest(call: &Call) -> Result<u8, Error> {
    let key = call.operand(0);
    if key.is_empty() {
        return Err(Error::Usage("must specify a transaction reference".into()));
    }
    let expected = match call.text("expected-digest") {
        "" => String::new(),
        given => digest(given)?,
    };
    let client = Client::connect(call).await?;
    let size = call.integer("expected-size");
    let upload = Upload { size, digest: &expected, ..Upload::of(key) };
    write(&client, upload, Source::Reader(&mut std::io::stdin().lock())).await.map(|_| 0)
}

/// Messages of a channel as a stream of a call.
#[derive(Debug)]
pub(crate) struct Queue<T>(pub(crate) tokio::sync::mpsc::Receiver<T>);

impl<T> futures_util::Stream for Queue<T> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        self.0.poll_recv(context)
    }
}

pub(crate) async fn active(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let filters = match call.operand(0) {
        "" => Vec::new(),
        pattern => vec![format!("ref~={pattern:?}")],
    };
    let response = client.content().list_statuses(ListStatusesRequest { filters }).await?;
    let mut lines = "REF\tSIZE\tAGE\t\n".to_owned();
    for status in response.into_inner().statuses {
        let size = text::size_decimal(status.offset);
        let _ = writeln!(lines, "{}\t{size}\t{}\t", status.r#ref, text::age(status.started_at.as_ref()));
    }
    output::text(&table::layout(table::TABBED, &lines)).map(|()| 0)
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let blobs = blobs(&client, &call.operands).await?;
    if call.is("quiet") {
        let digests: String = blobs.iter().map(|blob| format!("{}\n", blob.digest)).collect();
        return output::text(&digests).map(|()| 0);
    }
    let mut lines = "DIGEST\tSIZE\tAGE\tLABELS\n".to_owned();
    for blob in &blobs {
        let size = text::size_decimal(blob.size);
        let age = text::age(blob.created_at.as_ref());
        let _ = writeln!(lines, "{}\t{size}\t{age}\t{}", blob.digest, labels::column(&blob.labels));
    }
    output::text(&table::layout(table::TABBED, &lines)).map(|()| 0)
}

async fn blobs(client: &Client, filters: &[String]) -> Result<Vec<Info>, Error> {
    let mut stream =
        client.content().list(ListContentRequest { filters: filters.to_vec() }).await?.into_inner();
    let mut blobs = Vec::new();
    while let Some(message) = stream.message().await? {
        blobs.extend(message.info);
    }
    Ok(blobs)
}

pub(crate) async fn label(call: &Call) -> Result<u8, Error> {
    let digest = digest(call.operand(0))?;
    let client = Client::connect(call).await?;
    let labels = labels::parse(&call.operands[1..], "");
    let update_mask = Some(FieldMask { paths: labels::paths(&labels) });
    let info = Some(Info { digest, labels, ..Info::default() });
    let updated = client.content().update(UpdateRequest { info, update_mask }).await?.into_inner();
    output::line(&labels::joined(&updated.info.unwrap_or_default().labels)).map(|()| 0)
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let mut failure = None;
    for word in &call.operands {
        let deleted = match digest(word) {
            Ok(digest) => client.content().delete(DeleteContentRequest { digest }).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match deleted {
            Ok(_) => output::line(word)?,
            // What is not there needs no removal.
            Err(error) if error.is(tonic::Code::NotFound) => {}
            Err(error) => {
                output::warn("error", &format!("failed to delete {word}: {error}"));
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

pub(crate) async fn edit(call: &Call) -> Result<u8, Error> {
    let digest = digest(call.operand(0))?;
    let client = Client::connect(call).await?;
    let file = |what: &str| {
        let what = what.to_owned();
        move |source| Error::File { what, source }
    };
    let folder = std::env::temp_dir().join(format!("ctr-edit-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(file("make a folder for the text"))?;
    let path = folder.join("content");
    let edited = async {
        let mut chunks = read(&client, &digest).await?;
        let mut target = std::fs::File::create_new(&path).map_err(file("write the text"))?;
        while let Some(chunk) = chunks.message().await? {
            target.write_all(&chunk.data).map_err(file("write the text"))?;
        }
        drop(target);
        let editor = call.text("editor");
        let editor = if editor.is_empty() { "vi" } else { editor };
        // The editor may be a program with words, as `EDITOR` is by custom.
        let command = format!("{editor} \"$1\"");
        let status = std::process::Command::new("/bin/sh").args(["-c", &command, "sh"]).arg(&path).status();
        if !status.map_err(file("run the editor"))?.success() {
            return Err(Error::Usage(format!("the editor {editor:?} failed")));
        }
        let mut source = std::fs::File::open(&path).map_err(file("read the text"))?;
        let key = format!("edit-{digest}-{}", std::process::id());
        let written = write(&client, Upload::of(&key), Source::Reader(&mut source)).await;
        if written.is_err() {
            // The upload is of no use to anybody; that it stays is what its expiry is for.
            let _ = client.content().abort(AbortRequest { r#ref: key }).await;
        }
        written
    };
    let edited = edited.await;
    std::fs::remove_dir_all(&folder).map_err(file("remove the folder of the text"))?;
    output::line(&edited?).map(|()| 0)
}
