//! The service of snapshots.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use grpc::events::SubscribeRequest;
use grpc::events::events_client::EventsClient;
use grpc::snapshots::snapshots_client::SnapshotsClient;
use grpc::snapshots::*;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::served::{Served, told, within};

/// Without it, or a lease, the next collection takes what was made.
fn kept() -> (String, String) {
    ("containerd.io/gc.root".into(), "1".into())
}

fn prepare(key: &str, parent: &str) -> PrepareSnapshotRequest {
    let labels = HashMap::from([("side".to_owned(), parent.len().to_string()), kept()]);
    PrepareSnapshotRequest { snapshotter: "overlayfs".into(), key: key.into(), parent: parent.into(), labels }
}

fn commit(name: &str, key: &str) -> CommitSnapshotRequest {
    let (snapshotter, name, key) = ("overlayfs".into(), name.into(), key.into());
    CommitSnapshotRequest { snapshotter, name, key, labels: HashMap::from([kept()]), ..Default::default() }
}

/// The sizes of the answers of a list, and the names in them.
async fn list(client: &mut SnapshotsClient<Channel>, filters: &[&str]) -> (Vec<usize>, Vec<String>) {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let request = within(ListSnapshotsRequest { snapshotter: "overlayfs".into(), filters });
    let answers = client.list(request).await.unwrap().into_inner();
    let answers: Vec<Vec<Info>> = answers.map(|answer| answer.unwrap().info).collect().await;
    let sizes = answers.iter().map(Vec::len).collect();
    (sizes, answers.into_iter().flatten().map(|info| info.name).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_made_listed_and_told_of() {
    let served = Served::open().await;
    let mut client = SnapshotsClient::new(served.channel().await);
    let mut events = EventsClient::new(served.channel().await);
    let mut events = events.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let mounts = client.prepare(within(prepare("work", ""))).await.unwrap().into_inner().mounts;
    assert_eq!(
        (mounts[0].r#type.as_str(), &mounts[0].options[..]),
        ("bind", &["rw".into(), "rbind".into()][..])
    );
    client.commit(within(commit("base", "work"))).await.unwrap();
    client.prepare(within(prepare("active", "base"))).await.unwrap();
    let view = ViewSnapshotRequest {
        snapshotter: "overlayfs".into(),
        key: "view".into(),
        parent: "base".into(),
        labels: HashMap::from([kept()]),
    };
    client.view(within(view)).await.unwrap();
    for (filter, expected) in [
        ("kind==active", &["active"][..]),
        ("kind==view", &["view"]),
        ("kind==committed", &["base"]),
        ("parent==base", &["active", "view"]),
        ("name~=^.a", &["base"]),
        ("labels.side==4", &["active"]),
        ("labels.none", &[]),
    ] {
        assert_eq!(list(&mut client, &[filter]).await.1, expected, "{filter}");
    }
    for number in 0..250 {
        client.prepare(within(prepare(&format!("many-{number}"), "base"))).await.unwrap();
    }
    assert_eq!(list(&mut client, &[]).await.0, [100, 100, 53]);
    let remove =
        |key: &str| within(RemoveSnapshotRequest { snapshotter: "overlayfs".into(), key: key.into() });
    client.remove(remove("active")).await.unwrap();
    let mut topics = Vec::new();
    while topics.last().map(String::as_str) != Some("/snapshot/remove") {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.namespace, "one");
        topics.push(event.topic);
    }
    assert_eq!(
        topics[..3],
        ["/snapshot/prepare", "/snapshot/commit", "/snapshot/prepare"],
        "views are not told of"
    );
    assert_eq!(topics.len(), 254);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_containerds_words() {
    let served = Served::open().await;
    let mut client = SnapshotsClient::new(served.channel().await);
    let no_namespace = client.prepare(Request::new(prepare("a", ""))).await;
    assert_eq!(
        told(no_namespace),
        (Code::FailedPrecondition, "namespace is required: failed precondition".into())
    );
    let mut no_lease = within(prepare("a", ""));
    no_lease.metadata_mut().insert("containerd-lease", "gone".parse().unwrap());
    assert_eq!(told(client.prepare(no_lease).await).0, Code::NotFound);
    client.prepare(within(prepare("a", ""))).await.unwrap();
    let taken = client.prepare(within(prepare("a", ""))).await;
    assert_eq!(told(taken), (Code::AlreadyExists, "snapshot \"a\": already exists".into()));
    let no_parent = client.prepare(within(prepare("b", "c"))).await;
    assert_eq!(told(no_parent), (Code::NotFound, "parent snapshot c does not exist: not found".into()));
    let other = StatSnapshotRequest { snapshotter: "zfs".into(), key: "a".into() };
    let not_loaded = client.stat(within(other)).await;
    assert_eq!(
        told(not_loaded),
        (Code::InvalidArgument, "snapshotter not loaded: zfs: invalid argument".into())
    );
    let update = |paths: &[&str]| {
        let info = Info {
            name: "a".into(),
            labels: HashMap::from([("x".into(), "1".into())]),
            ..Default::default()
        };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let (snapshotter, update_mask) = ("overlayfs".into(), Some(prost_types::FieldMask { paths }));
        within(UpdateSnapshotRequest { snapshotter, info: Some(info), update_mask })
    };
    let wrong = client.update(update(&["kind"])).await;
    let text = "cannot update \"kind\" field on snapshot \"a\": invalid argument";
    assert_eq!(told(wrong), (Code::InvalidArgument, text.into()));
    let updated = client.update(update(&["labels.x"])).await.unwrap().into_inner().info.unwrap();
    assert_eq!((updated.labels.len(), updated.kind()), (3, Kind::Active));
    let updated = client.update(update(&[])).await.unwrap().into_inner().info.unwrap();
    assert_eq!(updated.labels.len(), 1);
    let clean = client.cleanup(within(CleanupRequest { snapshotter: "overlayfs".into() })).await;
    let text = "snapshotter does not implement Cleanup method: not implemented";
    assert_eq!(told(clean), (Code::Unimplemented, text.into()));
    let filter = ListSnapshotsRequest { snapshotter: "overlayfs".into(), filters: vec!["kind==".into()] };
    assert_eq!(told(client.list(within(filter)).await.map(drop)).0, Code::InvalidArgument);
    served.close().await;
}
