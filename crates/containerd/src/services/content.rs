//! `containerd.services.content.v1`: the blobs of a namespace, read and written in pieces.
//!
//! A piece of a blob is read or written on a thread that may block, and only when the client takes or sends the next one: a
//! client that does neither holds a piece's memory, and no thread.

mod write;

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::time::Duration;

use api::events::ContentDelete;
use futures_util::{Stream, stream};
use grpc::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest, ReadContentResponse,
    Status as IngestStatus, StatusRequest, StatusResponse, UpdateRequest, UpdateResponse,
    WriteContentRequest, WriteContentResponse, content_server,
};
use oci::digest::Digest;
use store::space::content;
use store::space::identifier;
use store::space::ingests;
use store::space::labels::Mask;
use tonic::{Request, Response, Status, Streaming};

use crate::door::Door;
use crate::filter::{Adaptor, Filter, label};
use crate::{request, status, time};

/// What one message carries of a blob that is read.
const PIECE_BYTES: u64 = 1 << 20;

/// What one message lists.
const LISTED: usize = 100;

/// Answers for blobs.
#[derive(Debug)]
pub(crate) struct Content(pub(crate) Door);

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl content_server::Content for Content {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let digest = valid(&request.get_ref().digest)?;
        let namespace = request::namespace(&request)?;
        let info = self.blocking(move |store| store.space(&namespace).content().info(&digest)).await?;
        Ok(Response::new(InfoResponse { info: Some(message(info)) }))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let UpdateRequest { info, update_mask } = request.into_inner();
        let info = info.unwrap_or_default();
        let digest = valid(&info.digest)?;
        let labels = info.labels.into_iter().collect();
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let updated = self.blocking(move |store| {
            let content = store.space(&namespace).content();
            match Mask::parse(&paths) {
                Ok(mask) => content.update(&digest, labels, mask).map(Ok),
                // That it is not there is said first.
                Err(path) => content.info(&digest).map(|info| Err((path.to_owned(), info.digest))),
            }
        });
        match updated.await? {
            Ok(info) => Ok(Response::new(UpdateResponse { info: Some(message(info)) })),
            Err((path, digest)) => {
                Err(request::no_field(&path, &format!("content info {:?}", digest.as_str())))
            }
        }
    }

    type ListStream = Messages<ListContentResponse>;

    async fn list(&self, request: Request<ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let lister = Lister { door: self.0.clone(), namespace, filter, after: None, found: Vec::new() };
        let messages = stream::try_unfold(Some(lister), |lister| async {
            let Some(mut lister) = lister else { return Ok(None) };
            let is_last = lister.fill().await?;
            let info: Vec<Info> = std::mem::take(&mut lister.found);
            let next = (!is_last).then_some(lister);
            Ok((!info.is_empty()).then_some((ListContentResponse { info }, next)))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn delete(&self, request: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        let digest = identifier::digest(&request.get_ref().digest).map_err(Status::invalid_argument)?;
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let event = ContentDelete { digest: digest.to_string() };
        let space = namespace.clone();
        self.blocking(move |store| store.space(&space).content().delete(&digest, lease.as_deref())).await?;
        self.0.exchange().publish(&namespace, "/content/delete", &event);
        self.0.engine().collect_later();
        Ok(Response::new(()))
    }

    type ReadStream = Messages<ReadContentResponse>;

    async fn read(&self, request: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ReadContentRequest { digest, offset, size } = request.get_ref().clone();
        let digest = identifier::digest(&digest)
            .map_err(|why| Status::invalid_argument(format!("{digest}: {why}")))?;
        let namespace = request::namespace(&request)?;
        let (info, file) =
            self.blocking(move |store| store.space(&namespace).content().open(&digest)).await?;
        let offset = u64::try_from(offset).unwrap_or_default();
        if offset > info.size {
            return Err(Status::out_of_range(format!("read past object length {} bytes", info.size)));
        }
        let left = info.size - offset;
        let end = match u64::try_from(size) {
            Ok(size) if (1..left).contains(&size) => offset + size,
            _ => info.size,
        };
        let reader = Reader { door: self.0.clone(), file, begin: offset, at: offset, end };
        let messages = stream::try_unfold(reader, Reader::piece);
        Ok(Response::new(Box::pin(messages)))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let reference = request.into_inner().r#ref;
        let asked = reference.clone();
        let found = self.blocking(move |store| store.space(&namespace).ingests().status(&asked)).await;
        let found = found.map_err(|error| {
            let text = format!("could not get status for ref {reference:?}: {}", error.message());
            Status::new(error.code(), text)
        })?;
        Ok(Response::new(StatusResponse { status: Some(status_message(found)) }))
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let filter = request::filter(&request.get_ref().filters)?;
        let all = self.blocking(move |store| store.space(&namespace).ingests().list()).await?;
        let statuses = all.into_iter().filter(|found| filter.matches(&Ref(found))).map(status_message);
        Ok(Response::new(ListStatusesResponse { statuses: statuses.collect() }))
    }

    type WriteStream = Messages<WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        Ok(Response::new(write::answers(self.0.clone(), namespace, lease, request.into_inner())))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let (namespace, lease) = (request::namespace(&request)?, request::lease(&request)?);
        let reference = request.into_inner().r#ref;
        self.blocking(move |store| store.space(&namespace).ingests().abort(&reference, lease.as_deref()))
            .await?;
        Ok(Response::new(()))
    }
}

impl Content {
    /// Runs `work` on a thread that may block, and words its error as containerd's content service does.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(&store::Store) -> store::Result<T> + Send + 'static,
    {
        self.0.attempt(work).await?.map_err(|error| worded(&error))
    }
}

/// Lists what a filter lets through.
struct Lister {
    door: Door,
    namespace: String,
    filter: Filter,
    after: Option<Digest>,
    found: Vec<Info>,
}

impl Lister {
    /// Finds what fills a message; whether there is no more.
    async fn fill(&mut self) -> Result<bool, Status> {
        while self.found.len() < LISTED {
            let (namespace, after) = (self.namespace.clone(), self.after.take());
            let page = self
                .door
                .blocking(move |store| store.space(&namespace).content().page(after.as_ref()))
                .await?;
            let Some(last) = page.last() else { return Ok(true) };
            self.after = Some(last.digest.clone());
            let matching = page.into_iter().filter(|info| self.filter.matches(&Blob(info)));
            self.found.extend(matching.map(message));
        }
        Ok(false)
    }
}

/// Reads a blob piece by piece.
struct Reader {
    door: Door,
    file: File,
    begin: u64,
    at: u64,
    end: u64,
}

impl Reader {
    /// The next piece.
    async fn piece(mut self) -> Result<Option<(ReadContentResponse, Reader)>, Status> {
        let length = PIECE_BYTES.min(self.end - self.at);
        if length == 0 {
            return Ok(None);
        }
        let (read, file) = self
            .door
            .blocking(move |_| {
                let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
                let read = self.file.read_exact_at(&mut data, self.at).map(|()| data);
                Ok((read, self.file))
            })
            .await?;
        let data = read.map_err(|error| Status::data_loss(format!("read of a blob: {error}")))?;
        let offset = i64::try_from(self.at - self.begin).unwrap_or(i64::MAX);
        self.at += length;
        Ok(Some((ReadContentResponse { offset, data: data.into() }, Reader { file, ..self })))
    }
}

/// What filters of content look at.
struct Blob<'a>(&'a content::Info);

impl Adaptor for Blob<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path.split_first()? {
            (first, _) if first == "digest" => Some(Cow::Borrowed(self.0.digest.as_str())),
            (first, rest) if first == "labels" => label(rest, &self.0.labels),
            _ => None,
        }
    }
}

/// What filters of ingests look at.
struct Ref<'a>(&'a ingests::Status);

impl Adaptor for Ref<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        (path.first()? == "ref").then_some(Cow::Borrowed(self.0.reference.as_str()))
    }
}

fn message(info: content::Info) -> Info {
    Info {
        digest: info.digest.to_string(),
        size: i64::try_from(info.size).unwrap_or(i64::MAX),
        created_at: Some(time::timestamp(info.created_ns)),
        updated_at: Some(time::timestamp(info.updated_ns)),
        labels: info.labels.into_iter().collect(),
    }
}

fn status_message(status: ingests::Status) -> IngestStatus {
    IngestStatus {
        started_at: Some(time::timestamp(status.started_ns)),
        updated_at: Some(time::timestamp(status.updated_ns)),
        r#ref: status.reference,
        offset: i64::try_from(status.offset).unwrap_or(i64::MAX),
        total: i64::try_from(status.total).unwrap_or(i64::MAX),
        // containerd does not tell it either.
        expected: String::new(),
    }
}

fn valid(digest: &str) -> Result<Digest, Status> {
    Digest::parse(digest).map_err(|_| Status::invalid_argument(format!("{digest:?} failed validation")))
}

/// A failure of the store in the words of containerd's content service.
pub(super) fn worded(error: &store::Error) -> Status {
    use store::Error;
    let text = match error {
        Error::NotFound { kind: "content", name } => format!("content digest {name}"),
        Error::NotFound { kind: "ingest", name } => format!("reference {name}"),
        Error::AlreadyExists { kind: "content", name } => format!("content {name}"),
        Error::Writing { reference, since_ns } => {
            let elapsed_ns = u64::try_from(time::now_ns().saturating_sub(*since_ns)).unwrap_or_default();
            let since = time::text(*since_ns);
            format!("ref {reference} locked for {:?} (since {since})", Duration::from_nanos(elapsed_ns))
        }
        Error::CommitSize { reference, actual, expected } => {
            format!("{reference:?} failed size validation: {actual} != {expected}")
        }
        Error::CommitDigest { actual, expected, .. } => {
            format!("unexpected commit digest {actual}, expected {expected}")
        }
        Error::Label { why } => format!("info.Labels: {why}"),
        Error::NoLease { .. } => "lease does not exist".into(),
        other => return status::of_store(other),
    };
    status::with_suffix(error.code(), text)
}
