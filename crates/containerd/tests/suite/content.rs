//! The service of content.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use grpc::content::content_client::ContentClient;
use grpc::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    ReadContentRequest, StatusRequest, UpdateRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use oci::digest::Digest;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::served::{Served, within};

type Client = ContentClient<Channel>;

fn message(action: WriteAction, offset: i64, data: &[u8]) -> WriteContentRequest {
    let mut request = WriteContentRequest { offset, data: data.to_vec().into(), ..Default::default() };
    request.r#ref = "ref".into();
    request.set_action(action);
    request
}

/// Code and message.
fn words(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

/// Sends all messages at once; every answer, and how it ended.
async fn write(
    client: &mut Client,
    messages: Vec<WriteContentRequest>,
) -> (Vec<WriteContentResponse>, Result<(), Status>) {
    let mut answers = client.write(within(stream::iter(messages))).await.unwrap().into_inner();
    let mut given = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => given.push(answer),
            Ok(None) => return (given, Ok(())),
            Err(status) => return (given, Err(status)),
        }
    }
}

async fn put(client: &mut Client, bytes: &[u8]) -> String {
    let mut commit = message(WriteAction::Commit, 0, bytes);
    // A collection takes what nothing holds.
    commit.labels.insert("containerd.io/gc.root".into(), "now".into());
    let (answers, end) = write(client, vec![commit]).await;
    end.unwrap();
    answers[0].digest.clone()
}

async fn read(client: &mut Client, digest: &str, offset: i64, size: i64) -> Result<Vec<u8>, Status> {
    let request = ReadContentRequest { digest: digest.to_owned(), offset, size };
    let mut pieces = client.read(within(request)).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        assert_eq!(usize::try_from(piece.offset).unwrap(), bytes.len());
        assert!(piece.data.len() <= 1 << 20);
        bytes.extend_from_slice(&piece.data);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_written_in_pieces_and_read_in_pieces() {
    let served = Served::open().await;
    let mut client = ContentClient::new(served.channel().await);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let (first, second) = bytes.split_at(2_000_000);
    let mut commit = message(WriteAction::Commit, 3_000_000, b"");
    commit.total = 3_000_000;
    commit.labels = HashMap::from([("k".into(), "v".into()), ("empty".into(), String::new())]);
    let messages = vec![
        message(WriteAction::Stat, 0, b""),
        message(WriteAction::Write, 0, first),
        message(WriteAction::Write, 2_000_000, second),
        commit,
    ];
    let (answers, end) = write(&mut client, messages).await;
    end.unwrap();
    assert_eq!(
        answers.iter().map(|answer| answer.offset).collect::<Vec<_>>(),
        [0, 2_000_000, 3_000_000, 3_000_000]
    );
    assert_eq!(answers[0].digest, Digest::of(b"").to_string());
    assert_eq!(answers[1].digest, Digest::of(first).to_string());
    let digest = answers[3].digest.clone();
    assert_eq!(digest, Digest::of(&bytes).to_string());
    let info =
        client.info(within(InfoRequest { digest: digest.clone() })).await.unwrap().into_inner().info.unwrap();
    assert_eq!((info.size, info.labels.len(), info.labels["k"].as_str()), (3_000_000, 1, "v"));
    assert_eq!(read(&mut client, &digest, 0, 0).await.unwrap(), bytes);
    assert_eq!(read(&mut client, &digest, 1_999_999, 2).await.unwrap(), &bytes[1_999_999..2_000_001]);
    assert_eq!(read(&mut client, &digest, 2_999_999, 100).await.unwrap(), &bytes[2_999_999..]);
    assert!(read(&mut client, &digest, 3_000_000, 1).await.unwrap().is_empty());
    let error = read(&mut client, &digest, 3_000_001, 1).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::OutOfRange, "read past object length 3000000 bytes"));
    drop(client);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_write_is_said_in_containerds_words() {
    let served = Served::open().await;
    let mut client = ContentClient::new(served.channel().await);
    let mut nameless = message(WriteAction::Stat, 0, b"");
    nameless.r#ref.clear();
    let (_, end) = write(&mut client, vec![nameless]).await;
    assert_eq!(words(&end.unwrap_err()), (Code::InvalidArgument, "first message must have a reference"));
    let (_, end) = write(&mut client, vec![message(WriteAction::Write, 7, b"x")]).await;
    let expected = "write @7 must occur at current offset 0";
    assert_eq!(words(&end.unwrap_err()), (Code::OutOfRange, expected));
    let messages = |commit| vec![message(WriteAction::Write, 0, b"bytes"), commit];
    let mut wrong = message(WriteAction::Commit, 5, b"");
    wrong.total = 4;
    let (_, end) = write(&mut client, messages(wrong)).await;
    let expected = "\"ref\" failed size validation: 5 != 4: failed precondition";
    assert_eq!(words(&end.unwrap_err()), (Code::FailedPrecondition, expected));
    let (is, other) = (Digest::of(b"bytes"), Digest::of(b"other"));
    let mut wrong = message(WriteAction::Commit, 5, b"");
    wrong.expected = other.to_string();
    let (_, end) = write(&mut client, messages(wrong)).await;
    let expected = format!("unexpected commit digest {is}, expected {other}: failed precondition");
    assert_eq!(words(&end.unwrap_err()), (Code::FailedPrecondition, expected.as_str()));
    // What was written is still there, and a commit at its end is all that is missing.
    let status = client.status(within(StatusRequest { r#ref: "ref".into() })).await.unwrap().into_inner();
    assert_eq!(status.status.unwrap().offset, 5);
    write(&mut client, vec![message(WriteAction::Commit, 5, b"")]).await.1.unwrap();
    let (_, end) = write(&mut client, vec![message(WriteAction::Commit, 0, b"bytes")]).await;
    let expected = format!("content {is}: already exists");
    assert_eq!(words(&end.unwrap_err()), (Code::AlreadyExists, expected.as_str()));
    let mut known = message(WriteAction::Commit, 5, b"");
    known.expected = is.to_string();
    let (_, end) = write(&mut client, messages(known)).await;
    let expected = format!("blob with expected digest {is} exists");
    assert_eq!(words(&end.unwrap_err()), (Code::AlreadyExists, expected.as_str()));
    assert_eq!(statuses(&mut client).await, 0);
    drop(client);
    served.close().await;
}

async fn statuses(client: &mut Client) -> usize {
    client.list_statuses(within(ListStatusesRequest::default())).await.unwrap().into_inner().statuses.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ref_has_one_writer_until_its_stream_ends() {
    let served = Served::open().await;
    let mut client = ContentClient::new(served.channel().await);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let messages =
        stream::unfold(receive, |mut receive| async { receive.recv().await.map(|next| (next, receive)) });
    send.send(message(WriteAction::Write, 0, b"first")).await.unwrap();
    let mut answers = client.clone().write(within(messages)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().offset, 5);
    let (_, end) = write(&mut client, vec![message(WriteAction::Stat, 0, b"")]).await;
    let error = end.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let text = error.message();
    assert!(text.starts_with("ref one/") && text.contains("/ref locked for "), "{text}");
    assert!(text.ends_with("): unavailable"), "{text}");
    drop(send);
    assert!(answers.message().await.unwrap().is_none());
    // At once: the end of the stream is the end of the writer.
    let (given, end) = write(&mut client, vec![message(WriteAction::Stat, 0, b"")]).await;
    end.unwrap();
    assert_eq!((given[0].offset, &given[0].digest), (5, &Digest::of(b"first").to_string()));
    client.abort(within(AbortRequest { r#ref: "ref".into() })).await.unwrap();
    let error = client.abort(within(AbortRequest { r#ref: "ref".into() })).await.unwrap_err();
    assert_eq!(words(&error), (Code::NotFound, "reference ref: not found"));
    let error = client.status(within(StatusRequest { r#ref: "ref".into() })).await.unwrap_err();
    assert_eq!(
        words(&error),
        (Code::NotFound, "could not get status for ref \"ref\": reference ref: not found")
    );
    drop(client);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_listed_labelled_and_deleted() {
    let served = Served::open().await;
    let mut client = ContentClient::new(served.channel().await);
    let mut digests = Vec::new();
    for number in 0..120_u32 {
        digests.push(put(&mut client, &number.to_be_bytes()).await);
    }
    let list = async |client: &mut Client, filters: Vec<String>| -> Vec<usize> {
        let messages = client.list(within(ListContentRequest { filters })).await.unwrap().into_inner();
        messages.map(|page| page.unwrap().info.len()).collect().await
    };
    assert_eq!(list(&mut client, Vec::new()).await.iter().sum::<usize>(), 120);
    let labels = HashMap::from([("a.b".into(), "1".into()), ("c".into(), "2".into())]);
    let info = Info { digest: digests[7].clone(), labels, ..Info::default() };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.into()] });
    let update = UpdateRequest { info: Some(info.clone()), update_mask: mask("labels.a.b") };
    let updated = client.update(within(update)).await.unwrap().into_inner().info.unwrap();
    assert_eq!((updated.labels.len(), updated.labels["a.b"].as_str()), (2, "1"));
    assert_eq!(list(&mut client, vec!["labels.\"a.b\"==1".into()]).await, [1]);
    assert_eq!(list(&mut client, vec![format!("digest=={}", digests[3])]).await, [1]);
    let update = UpdateRequest { info: Some(info), update_mask: mask("size") };
    let error = client.update(within(update)).await.unwrap_err();
    let expected =
        format!("cannot update \"size\" field on content info \"{}\": invalid argument", digests[7]);
    assert_eq!(words(&error), (Code::InvalidArgument, expected.as_str()));
    let delete = DeleteContentRequest { digest: digests[7].clone() };
    client.delete(within(delete.clone())).await.unwrap();
    let error = client.delete(within(delete)).await.unwrap_err();
    let expected = format!("content digest {}: not found", digests[7]);
    assert_eq!(words(&error), (Code::NotFound, expected.as_str()));
    let error = client.info(within(InfoRequest { digest: "x".into() })).await.unwrap_err();
    assert_eq!(words(&error), (Code::InvalidArgument, "\"x\" failed validation"));
    drop(client);
    served.close().await;
}
