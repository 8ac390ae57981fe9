//! Writing a blob: one answer for each message, until a commit.
//!
//! The first message names the ref. `STAT` asks how far it is; `WRITE` appends at the offset that it names, or begins again
//! where it names 0 and something is there; `COMMIT` does the same and makes it content. A client that goes away keeps what it wrote.

use api::events::ContentCreate;
use futures_util::stream;
use grpc::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use oci::digest::Digest;
use store::space::ingests::{Announced, Finished, Writer};
use store::{Error, Store};
use tonic::{Status, Streaming};

use super::{Messages, valid, worded};
use crate::door::Door;
use crate::{request, time};

/// A client that writes.
struct Session {
    namespace: String,
    lease: Option<String>,
    reference: String,
    /// What the client said last.
    total: u64,
    expected: Option<Digest>,
    writer: Option<Writer>,
    /// containerd repeats what it said of other things before.
    answer: WriteContentResponse,
}

/// The messages of a client, and what it is doing.
struct Conversation {
    door: Door,
    incoming: Streaming<WriteContentRequest>,
    session: Option<Session>,
}

/// The answers to the messages of a client.
pub(super) fn answers(
    door: Door,
    namespace: String,
    lease: Option<String>,
    incoming: Streaming<WriteContentRequest>,
) -> Messages<WriteContentResponse> {
    let session = Session {
        namespace,
        lease,
        reference: String::new(),
        total: 0,
        expected: None,
        writer: None,
        answer: WriteContentResponse::default(),
    };
    let conversation = Conversation { door, incoming, session: Some(session) };
    Box::pin(stream::try_unfold(conversation, Conversation::next))
}

impl Conversation {
    async fn next(mut self) -> Result<Option<(WriteContentResponse, Conversation)>, Status> {
        let Some(mut session) = self.session.take() else { return Ok(None) };
        let message = self.incoming.message().await;
        // In any case the writer ends on a thread that may block: what was written is synced then.
        let (session, answer, created) = self
            .door
            .blocking(move |store| {
                let message = match message {
                    Ok(Some(message)) => message,
                    Ok(None) if session.reference.is_empty() => return Ok(Err(Status::unknown("EOF"))),
                    Ok(None) => return Ok(Ok((None, None, None))),
                    Err(error) => return Ok(Err(request::too_large(&error).unwrap_or(error))),
                };
                Ok(session.answer(store, message).map(|created| {
                    let answer = session.answer.clone();
                    (session.writer.is_some().then_some(session), Some(answer), created)
                }))
            })
            .await??;
        if let Some((namespace, event)) = created {
            self.door.exchange().publish(&namespace, "/content/create", &event);
            self.door.engine().look_later();
        }
        self.session = session;
        Ok(answer.map(|answer| (answer, self)))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // The client went away without a word.
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(session)));
        }
    }
}

impl Session {
    /// Does what a message says and prepares the answer; what became content, and where. The session is at its end when there
    /// is no writer.
    fn answer(
        &mut self,
        store: &Store,
        message: WriteContentRequest,
    ) -> Result<Option<(String, ContentCreate)>, Status> {
        self.listen(store, &message)?;
        let Some(writer) = &mut self.writer else {
            return Err(Status::internal("a session without a writer"));
        };
        let status = writer.status();
        self.answer.action = message.action;
        self.answer.offset = column(status.offset);
        if message.action() == WriteAction::Stat {
            self.answer.digest = writer.digest().to_string();
            self.answer.started_at = Some(time::timestamp(status.started_ns));
            self.answer.updated_at = Some(time::timestamp(status.updated_ns));
            self.answer.total = column(self.total);
            return Ok(None);
        }
        append(writer, &message)?;
        self.answer.offset = column(writer.status().offset);
        if message.action() == WriteAction::Commit {
            return self.commit(store, message).map(Some);
        }
        self.answer.digest = writer.digest().to_string();
        Ok(None)
    }

    /// Notes what the client says of the whole, and opens the writer when it says so first.
    fn listen(&mut self, store: &Store, message: &WriteContentRequest) -> Result<(), Status> {
        let expected = (!message.expected.is_empty()).then(|| valid(&message.expected)).transpose()?;
        if let Ok(total @ 1..) = u64::try_from(message.total) {
            self.total = total;
        }
        if self.writer.is_none() {
            if message.r#ref.is_empty() {
                return Err(Status::invalid_argument("first message must have a reference"));
            }
            self.reference.clone_from(&message.r#ref);
            let announced = Announced {
                reference: &self.reference,
                total: self.total,
                expected: expected.as_ref(),
                lease: self.lease.as_deref(),
            };
            let opened = store.space(&self.namespace).ingests().open(announced);
            self.writer = Some(opened.map_err(|error| worded(&error))?);
        } else if let Some(digest) = &expected {
            self.give_up_if_known(store, digest)?;
        }
        if expected.is_some() {
            self.expected = expected;
        }
        Ok(())
    }

    /// Meanwhile somebody else may have written it.
    fn give_up_if_known(&mut self, store: &Store, digest: &Digest) -> Result<(), Status> {
        let space = store.space(&self.namespace);
        if !space.content().has(digest).map_err(|error| worded(&error))? {
            return Ok(());
        }
        match space.ingests().abort(&self.reference, self.lease.as_deref()) {
            // Somebody aborted it already.
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(worded(&error)),
        }
        Err(Status::already_exists(format!("blob with expected digest {digest} exists")))
    }

    fn commit(
        &mut self,
        store: &Store,
        message: WriteContentRequest,
    ) -> Result<(String, ContentCreate), Status> {
        let Some(writer) = self.writer.take() else {
            return Err(Status::internal("a session without a writer"));
        };
        let finished = Finished {
            size: self.total,
            expected: self.expected.as_ref(),
            labels: message.labels.into_iter().collect(),
            lease: self.lease.as_deref(),
        };
        let committed = store.space(&self.namespace).ingests().commit(writer, finished);
        let info = committed.map_err(|error| worded(&error))?;
        self.answer.digest = info.digest.to_string();
        let event = ContentCreate { digest: info.digest.to_string(), size: column(info.size) };
        Ok((self.namespace.clone(), event))
    }
}

/// Appends what a message carries where it says.
fn append(writer: &mut Writer, message: &WriteContentRequest) -> Result<(), Status> {
    let offset = column(writer.status().offset);
    if message.offset > 0 && message.offset != offset {
        let text = format!("write @{} must occur at current offset {offset}", message.offset);
        return Err(Status::out_of_range(text));
    }
    if message.offset == 0 && offset > 0 {
        writer.restart().map_err(|error| worded(&error))?;
    }
    writer.write(&message.data).map_err(|error| worded(&error))
}

fn column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
