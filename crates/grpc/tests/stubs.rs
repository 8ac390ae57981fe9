//! Clients against servers, with nothing in between: what one writes, the other reads.

use std::pin::Pin;

use api::code::Code;
use futures_util::{Stream, StreamExt, stream};
use grpc::content::content_client::ContentClient;
use grpc::content::content_server::{Content, ContentServer};
use grpc::content::*;
use grpc::status::{code, status};
use grpc::streaming::streaming_client::StreamingClient;
use grpc::streaming::streaming_server::{Streaming, StreamingServer};
use tonic::{Request, Response, Result, Status};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// Serves two calls; the others fail as a daemon fails that does not know them.
struct Blobs;

#[tonic::async_trait]
impl Content for Blobs {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>> {
        let namespace = request.metadata().get("containerd-namespace").and_then(|value| value.to_str().ok());
        let words =
            format!("content {} in {}: not found", request.get_ref().digest, namespace.unwrap_or("-"));
        Err(status(Code::NotFound, words))
    }

    async fn read(&self, request: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>> {
        let offset = request.get_ref().offset;
        let part = move |number| ReadContentResponse {
            offset: offset + number,
            data: bytes::Bytes::from(vec![0xff; 3]),
        };
        Ok(Response::new(stream::iter([0, 3].map(part).map(Ok)).boxed()))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Result<Response<UpdateResponse>> {
        Err(status(Code::Unimplemented, "update"))
    }
    async fn list(&self, _: Request<ListContentRequest>) -> Result<Response<Self::ListStream>> {
        Err(status(Code::Unimplemented, "list"))
    }
    async fn delete(&self, _: Request<DeleteContentRequest>) -> Result<Response<()>> {
        Ok(Response::new(()))
    }
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>> {
        Err(status(Code::Unimplemented, "status"))
    }
    async fn list_statuses(&self, _: Request<ListStatusesRequest>) -> Result<Response<ListStatusesResponse>> {
        Err(status(Code::Unimplemented, "list_statuses"))
    }
    async fn write(
        &self,
        _: Request<tonic::Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>> {
        Err(status(Code::Unimplemented, "write"))
    }
    async fn abort(&self, _: Request<AbortRequest>) -> Result<Response<()>> {
        Err(status(Code::Unimplemented, "abort"))
    }
}

#[tokio::test]
async fn a_failed_call_keeps_its_code_and_words() {
    let mut client = ContentClient::new(ContentServer::new(Blobs));
    let mut request = Request::new(InfoRequest { digest: "sha256:0".into() });
    request.metadata_mut().insert("containerd-namespace", "n".parse().unwrap());
    let error = client.info(request).await.unwrap_err();
    assert_eq!(code(&error), Code::NotFound);
    assert_eq!(error.message(), "content sha256:0 in n: not found");
    client.delete(DeleteContentRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_answers_arrives_in_order() {
    let mut client = ContentClient::new(ContentServer::new(Blobs));
    let request = ReadContentRequest { digest: "sha256:0".into(), offset: 7, size: 6 };
    let answers: Vec<_> = client.read(request).await.unwrap().into_inner().collect().await;
    let answers: Vec<(i64, usize)> = answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .map(|answer| (answer.offset, answer.data.len()))
        .collect();
    assert_eq!(answers, [(7, 3), (10, 3)]);
}

#[test]
fn every_code_survives_its_status() {
    for number in 1..=16 {
        let error: Status = status(Code::from_grpc(number), "why");
        assert_eq!((code(&error).grpc(), error.message()), (number, "why"));
    }
}

/// Sends back what comes.
struct Echo;

#[tonic::async_trait]
impl Streaming for Echo {
    type StreamStream = Answers<prost_types::Any>;

    async fn stream(
        &self,
        request: Request<tonic::Streaming<prost_types::Any>>,
    ) -> Result<Response<Self::StreamStream>> {
        Ok(Response::new(request.into_inner().boxed()))
    }
}

#[tokio::test]
async fn both_sides_stream_at_once() {
    let mut client = StreamingClient::new(StreamingServer::new(Echo));
    let init = api::any::pack(&grpc::streaming::StreamInit { id: "one".into() });
    assert_eq!(init.type_url, "containerd.services.streaming.v1.StreamInit");
    let sent = vec![init.clone(), prost_types::Any::default()];
    let mut answers = client.stream(stream::iter(sent)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap(), Some(init));
    assert_eq!(answers.message().await.unwrap(), Some(prost_types::Any::default()));
    assert_eq!(answers.message().await.unwrap(), None);
}
