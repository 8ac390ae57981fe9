//! An upload: bytes under a key that become a blob.

use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, Instant};

use bytes::Bytes;
use grpc::content::{
    Info, InfoRequest, UpdateRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use prost_types::FieldMask;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::Queue;
use crate::client::Client;
use crate::error::Error;
use crate::labels;

/// What is sent at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Somebody else may be writing under the same key: how long that is waited for, and how often it is looked at.
const WRITER_PATIENCE: Duration = Duration::from_secs(600);
const WRITER_PAUSE: Duration = Duration::from_millis(100);

/// What is stored, and how.
pub(crate) struct Upload<'a> {
    /// The upload's own name.
    pub(crate) key: &'a str,
    /// In bytes; 0 when it is not known.
    pub(crate) size: i64,
    /// Empty when it is not known.
    pub(crate) digest: &'a str,
    /// The blob's, when it is whole.
    pub(crate) labels: HashMap<String, String>,
    /// Told how many bytes are there.
    pub(crate) told: &'a dyn Fn(i64),
}

/// Where the bytes come from.
pub(crate) enum Source<'a> {
    Reader(&'a mut dyn Read),
    Pieces(mpsc::Receiver<Bytes>),
}

impl<'a> Upload<'a> {
    /// One of which nothing is known yet but its key.
    pub(crate) fn of(key: &'a str) -> Upload<'a> {
        Upload { key, size: 0, digest: "", labels: HashMap::new(), told: &|_| {} }
    }

    fn message(&self, action: WriteAction, offset: i64) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            r#ref: self.key.to_owned(),
            total: self.size,
            expected: self.digest.to_owned(),
            offset,
            ..WriteContentRequest::default()
        }
    }
}

impl Source<'_> {
    /// The next piece; an empty one at the end.
    async fn next(&mut self) -> Result<Bytes, Error> {
        match self {
            Source::Reader(reader) => {
                let mut chunk = vec![0; CHUNK_BYTES];
                let length = fill(*reader, &mut chunk)?;
                chunk.truncate(length);
                Ok(chunk.into())
            }
            Source::Pieces(pieces) => Ok(pieces.recv().await.unwrap_or_default()),
        }
    }
}

/// A conversation about an upload.
struct Writer {
    send: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
}

impl Writer {
    /// Opens the upload, and its state. None: the blob is there already.
    async fn open(
        client: &Client,
        upload: &Upload<'_>,
    ) -> Result<Option<(Writer, WriteContentResponse)>, Error> {
        let began = Instant::now();
        loop {
            let (send, receive) = mpsc::channel(2);
            let first = upload.message(WriteAction::Stat, 0);
            send.send(first).await.expect("the receiver is here");
            let opened = match client.content().write(Queue(receive)).await {
                Ok(response) => {
                    let mut answers = response.into_inner();
                    answers.message().await.map(|state| (state, answers))
                }
                Err(status) => Err(status),
            };
            match opened {
                Ok((Some(state), answers)) => return Ok(Some((Writer { send, answers }, state))),
                Ok((None, _)) => return Err(ended(upload.key)),
                Err(status) if status.code() == tonic::Code::AlreadyExists => return Ok(None),
                // It may be the same blob that comes there: then this one waits for it.
                Err(status)
                    if status.code() == tonic::Code::Unavailable && began.elapsed() < WRITER_PATIENCE =>
                {
                    tokio::time::sleep(WRITER_PAUSE).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// None: the blob is there by now.
    async fn say(&mut self, message: WriteContentRequest) -> Result<Option<WriteContentResponse>, Error> {
        let key = message.r#ref.clone();
        // A daemon that has ended the upload says why in its answer.
        let _ = self.send.send(message).await;
        match self.answers.message().await {
            Ok(answer) => answer.map(Some).ok_or_else(|| ended(&key)),
            Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(None),
            Err(status) => Err(status.into()),
        }
    }
}

fn ended(key: &str) -> Error {
    Error::Usage(format!("the daemon ended the upload {key:?}"))
}

/// Stores what `source` gives; its digest. What is there already is not read again.
pub(crate) async fn write(
    client: &Client,
    upload: Upload<'_>,
    mut source: Source<'_>,
) -> Result<String, Error> {
    let is_there = || Ok(upload.digest.to_owned());
    let Some((mut writer, state)) = Writer::open(client, &upload).await? else { return is_there() };
    // An upload under this key that somebody left is begun again: what it holds is not known here.
    let mut is_left = state.offset > 0;
    let mut offset = 0;
    loop {
        let data = source.next().await?;
        let is_last = data.is_empty();
        if is_last && !is_left {
            break;
        }
        is_left = false;
        for chunk in chunks(data) {
            let message = WriteContentRequest { data: chunk, ..upload.message(WriteAction::Write, offset) };
            let Some(answer) = writer.say(message).await? else { return is_there() };
            offset = answer.offset;
            (upload.told)(offset);
        }
        if is_last {
            break;
        }
    }
    let commit =
        WriteContentRequest { labels: upload.labels.clone(), ..upload.message(WriteAction::Commit, offset) };
    match writer.say(commit).await? {
        Some(answer) => Ok(answer.digest),
        None => is_there(),
    }
}

/// Parts that fit into a message; one without bytes is one part.
fn chunks(mut data: Bytes) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while data.len() > CHUNK_BYTES {
        chunks.push(data.split_to(CHUNK_BYTES));
    }
    chunks.push(data);
    chunks
}

/// Reads until `chunk` is full or the source ends.
fn fill(source: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < chunk.len() {
        match source.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::File { what: "read content".into(), source }),
        }
    }
    Ok(filled)
}

/// Whether the blob is in the namespace; then it has these labels, too, from now on.
pub(crate) async fn labelled(
    client: &Client,
    digest: &str,
    labels: &HashMap<String, String>,
) -> Result<bool, Error> {
    match client.content().info(InfoRequest { digest: digest.to_owned() }).await {
        Ok(_) => {}
        Err(status) if status.code() == tonic::Code::NotFound => return Ok(false),
        Err(status) => return Err(status.into()),
    }
    if !labels.is_empty() {
        let info = Info { digest: digest.to_owned(), labels: labels.clone(), ..Info::default() };
        let update_mask = Some(FieldMask { paths: labels::paths(labels) });
        client.content().update(UpdateRequest { info: Some(info), update_mask }).await?;
    }
    Ok(true)
}

/// Stores a document whose bytes are known, with its labels.
pub(crate) async fn document(
    client: &Client,
    (key, digest): (&str, &str),
    bytes: &[u8],
    labels: HashMap<String, String>,
) -> Result<(), Error> {
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let upload = Upload { size, digest, labels: labels.clone(), ..Upload::of(key) };
    write(client, upload, Source::Reader(&mut &*bytes)).await?;
    // It may have been there, or come from somebody else meanwhile.
    labelled(client, digest, &labels).await.map(drop)
}
