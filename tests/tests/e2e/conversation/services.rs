//! Introspection, diff, streaming, transfer, the sandbox controller, and messages at the bound of their size.

use api::any;
use api::types::{Descriptor, Mount};
use futures_util::StreamExt as _;
use grpc::content::content_client::ContentClient;
use grpc::content::{WriteAction, WriteContentRequest};
use grpc::diff::diff_client::DiffClient;
use grpc::diff::{ApplyRequest, DiffRequest};
use grpc::introspection::introspection_client::IntrospectionClient;
use grpc::introspection::{PluginInfoRequest, PluginsRequest};
use grpc::sandbox::controller_client::ControllerClient;
use grpc::sandbox::*;
use grpc::snapshots::PrepareSnapshotRequest;
use grpc::snapshots::snapshots_client::SnapshotsClient;
use grpc::streaming::StreamInit;
use grpc::streaming::streaming_client::StreamingClient;
use grpc::transfer::TransferRequest;
use grpc::transfer::transfer_client::TransferClient;
use oci::digest::Digest;
use prost_types::Any;

use super::records::labels;
use super::talk::{Side, Talk, in_time, say};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OTHER: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// What a message may have.
const MESSAGE_MAX: usize = 16 << 20;

pub(crate) async fn introspection(talk: &mut Talk) {
    type Client<T> = IntrospectionClient<T>;
    talk.within("");
    let plugins = |filter: &str| PluginsRequest { filters: vec![filter.into()] };
    say!(talk, "introspection: plugins by nonsense", Client, plugins, plugins("type=="));
    say!(talk, "introspection: no plugins", Client, plugins, plugins("type==none"));
    let info = |kind: &str, id: &str| PluginInfoRequest { r#type: kind.into(), id: id.into(), options: None };
    say!(talk, "introspection: no plugin", Client, plugin_info, info("io.containerd.grpc.v1", "none"));
    say!(talk, "introspection: nothing", Client, plugin_info, info("", ""));
}

pub(crate) async fn diff(talk: &mut Talk) {
    type Client<T> = DiffClient<T>;
    let layer = |media_type: &str, digest: &str| {
        let media_type = media_type.into();
        Some(Descriptor { media_type, digest: digest.into(), size: 3, ..Descriptor::default() })
    };
    let apply = |media_type: &str, digest: &str| ApplyRequest {
        diff: layer(media_type, digest),
        ..ApplyRequest::default()
    };
    talk.within("");
    say!(talk, "diff: apply without a namespace", Client, apply, apply(LAYER, OTHER));
    talk.within("red");
    say!(talk, "diff: apply what is not there", Client, apply, apply(LAYER, OTHER));
    say!(talk, "diff: apply with a bad digest", Client, apply, apply(LAYER, "nonsense"));
    let between = |media_type: &str| DiffRequest { media_type: media_type.into(), ..DiffRequest::default() };
    say!(talk, "diff: between for a bad media type", Client, diff, between("x/y"));
    // An archive of nothing.
    let archive = vec![0; 1024];
    let digest = Digest::of(&archive);
    let mut answers = [Vec::new(), Vec::new(), Vec::new()];
    for side in talk.sides() {
        let stored = store(talk, &side, "layer", archive.clone()).await;
        answers[0].push(talk.plain(&side, stored));
        let mounts = prepare(talk, &side).await;
        for (media_type, answers) in [LAYER, "x/y"].into_iter().zip(&mut answers[1..]) {
            let request = ApplyRequest { mounts: mounts.clone(), ..apply(media_type, digest.as_str()) };
            let applied = in_time(DiffClient::new(talk.service(&side)).apply(request)).await;
            answers.push(talk.plain(&side, applied.map(tonic::Response::into_inner)));
        }
    }
    for (what, answers) in
        ["diff: the layer", "diff: apply", "diff: apply a bad media type"].into_iter().zip(&answers)
    {
        talk.compare(what, answers);
    }
}

/// Writes a blob in one message.
async fn store(talk: &Talk, side: &Side, name: &str, data: Vec<u8>) -> Result<i64, tonic::Status> {
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: name.into(),
        total: i64::try_from(data.len()).expect("it is small"),
        expected: Digest::of(&data).to_string(),
        data: data.into(),
        labels: labels(&[("containerd.io/gc.root", "kept")]),
        ..WriteContentRequest::default()
    };
    let mut client = ContentClient::new(talk.service(side));
    in_time(async {
        let mut answers = client.write(futures_util::stream::iter([message])).await?.into_inner();
        Ok(answers.message().await?.map_or(-1, |answer| answer.offset))
    })
    .await
}

async fn prepare(talk: &Talk, side: &Side) -> Vec<Mount> {
    let request = PrepareSnapshotRequest {
        snapshotter: "overlayfs".into(),
        key: "applied".into(),
        labels: labels(&[("containerd.io/gc.root", "kept")]),
        ..PrepareSnapshotRequest::default()
    };
    let prepared = SnapshotsClient::new(talk.service(side)).prepare(request).await;
    prepared.expect("it is prepared").into_inner().mounts
}

pub(crate) async fn streaming(talk: &mut Talk) {
    let init = any::pack(&StreamInit { id: "one".into() });
    let wrong = Any { type_url: "conversation.Word".into(), value: Vec::new() };
    for (what, namespace, first) in [
        ("streaming: without a namespace", "", &init),
        ("streaming: begin with something else", "red", &wrong),
        ("streaming: open", "red", &init),
        ("streaming: open again", "red", &init),
    ] {
        talk.within(namespace);
        let mut answers = Vec::new();
        for side in talk.sides() {
            answers.push(open(talk, &side, first.clone()).await);
        }
        talk.compare(what, &answers);
    }
}

/// Opens a stream, which stays open; what is said on it first.
async fn open(talk: &Talk, side: &Side, first: Any) -> String {
    let mut client = StreamingClient::new(talk.service(side));
    let said = futures_util::stream::iter([first]).chain(futures_util::stream::pending());
    let answer = in_time(async {
        let mut answers = client.stream(said).await?.into_inner();
        let first = answers.message().await?.map(|first| first.type_url);
        // Dropping it would end it.
        std::mem::forget(answers);
        Ok(first)
    });
    talk.plain(side, answer.await)
}

pub(crate) async fn transfer(talk: &mut Talk) {
    type Client<T> = TransferClient<T>;
    let word = || Some(Any { type_url: "conversation.Word".into(), value: Vec::new() });
    let request = || TransferRequest { source: word(), destination: word(), options: None };
    talk.within("");
    say!(talk, "transfer: without a namespace", Client, transfer, request());
    talk.within("red");
    say!(talk, "transfer: something else", Client, transfer, request());
    say!(talk, "transfer: nothing", Client, transfer, TransferRequest::default());
}

pub(crate) async fn controller(talk: &mut Talk) {
    type Client<T> = ControllerClient<T>;
    let id = || "none".to_owned();
    let shim = || "shim".to_owned();
    talk.within("");
    let status = |sandboxer: &str| ControllerStatusRequest {
        sandbox_id: id(),
        sandboxer: sandboxer.into(),
        ..ControllerStatusRequest::default()
    };
    say!(talk, "controller: without a namespace", Client, status, status("shim"));
    talk.within("red");
    say!(talk, "controller: status of none", Client, status, status("shim"));
    say!(talk, "controller: of no sandboxer", Client, status, status(""));
    say!(talk, "controller: of an unknown sandboxer", Client, status, status("podlike"));
    // What is not in the store ends containerd 2.1 when it is to be created.
    let start = || ControllerStartRequest { sandbox_id: id(), sandboxer: shim() };
    say!(talk, "controller: start none", Client, start, start());
    let platform = || ControllerPlatformRequest { sandbox_id: id(), sandboxer: shim() };
    say!(talk, "controller: platform of none", Client, platform, platform());
    let stop = || ControllerStopRequest { sandbox_id: id(), timeout_secs: 1, sandboxer: shim() };
    say!(talk, "controller: stop none", Client, stop, stop());
    let wait = || ControllerWaitRequest { sandbox_id: id(), sandboxer: shim() };
    say!(talk, "controller: wait for none", Client, wait, wait());
    let metrics = || ControllerMetricsRequest { sandbox_id: id(), sandboxer: shim() };
    say!(talk, "controller: metrics of none", Client, metrics, metrics());
    let shutdown = || ControllerShutdownRequest { sandbox_id: id(), sandboxer: shim() };
    say!(talk, "controller: shut none down", Client, shutdown, shutdown());
}

pub(crate) async fn sizes(talk: &mut Talk) {
    talk.within("red");
    for (what, name, size) in [
        ("sizes: below the bound", "small", MESSAGE_MAX - 4096),
        ("sizes: above it", "large", MESSAGE_MAX + 4096),
    ] {
        let mut answers = Vec::new();
        for side in talk.sides() {
            let stored = store(talk, &side, name, vec![7; size]).await;
            answers.push(talk.plain(&side, stored));
        }
        talk.compare(what, &answers);
    }
    type Client<T> = IntrospectionClient<T>;
    let filters = || vec!["x".repeat(MESSAGE_MAX)];
    say!(talk, "sizes: a request above it", Client, plugins, PluginsRequest { filters: filters() });
}
