//! Content and snapshots.

use grpc::content::content_client::ContentClient;
use grpc::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    ReadContentRequest, StatusRequest, UpdateRequest, WriteAction, WriteContentRequest,
};
use grpc::snapshots::snapshots_client::SnapshotsClient;
use grpc::snapshots::{
    CleanupRequest, CommitSnapshotRequest, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, UpdateSnapshotRequest, UsageRequest, ViewSnapshotRequest,
};

use super::records::{labels, mask};
use super::talk::{Talk, hear, say};

/// Of `hello`.
const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
/// What has this label is no garbage.
const KEPT: (&str, &str) = ("containerd.io/gc.root", "kept");
/// Of nothing that is stored.
const OTHER: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// One message of a writer.
fn write(action: WriteAction, reference: &str, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest {
        action: action.into(),
        r#ref: reference.into(),
        data: data.into(),
        ..WriteContentRequest::default()
    }
}

pub(crate) async fn content(talk: &mut Talk) {
    type Client<T> = ContentClient<T>;
    let stat = |reference: &str| vec![write(WriteAction::Stat, reference, b"")];
    let stream = futures_util::stream::iter;
    talk.within("");
    hear!(talk, "content: without a namespace", Client, list, ListContentRequest::default());
    hear!(talk, "content: write without a namespace", Client, write, stream(stat("r")));
    talk.within("red");
    hear!(talk, "content: none", Client, list, ListContentRequest::default());
    hear!(talk, "content: write without a ref", Client, write, stream(stat("")));
    hear!(talk, "content: write nothing", Client, write, stream(Vec::new()));
    hear!(talk, "content: stat", Client, write, stream(stat("one")));
    say!(talk, "content: status", Client, status, StatusRequest { r#ref: "one".into() });
    say!(talk, "content: status of none", Client, status, StatusRequest { r#ref: "none".into() });
    let half =
        WriteContentRequest { total: 5, expected: HELLO.into(), ..write(WriteAction::Write, "one", b"hel") };
    hear!(talk, "content: write a part", Client, write, stream(vec![half.clone()]));
    say!(talk, "content: statuses", Client, list_statuses, ListStatusesRequest::default());
    say!(
        talk,
        "content: statuses by ref",
        Client,
        list_statuses,
        ListStatusesRequest { filters: vec!["ref==one".into()] }
    );
    let more = WriteContentRequest { offset: 9, ..write(WriteAction::Write, "one", b"lo") };
    hear!(talk, "content: write behind a gap", Client, write, stream(vec![more.clone()]));
    let early = WriteContentRequest { total: 5, offset: 3, ..write(WriteAction::Commit, "one", b"") };
    hear!(talk, "content: commit too early", Client, write, stream(vec![early.clone()]));
    let other = WriteContentRequest { total: 7, ..write(WriteAction::Stat, "one", b"") };
    hear!(talk, "content: another total", Client, write, stream(vec![other.clone()]));
    let wrong =
        WriteContentRequest { offset: 3, expected: OTHER.into(), ..write(WriteAction::Commit, "one", b"lo") };
    hear!(talk, "content: commit with another digest", Client, write, stream(vec![wrong.clone()]));
    let rest = WriteContentRequest {
        offset: 3,
        expected: HELLO.into(),
        labels: labels(&[("a", "1"), KEPT]),
        ..write(WriteAction::Commit, "one", b"lo")
    };
    hear!(talk, "content: commit", Client, write, stream(vec![rest.clone()]));
    hear!(
        talk,
        "content: commit again",
        Client,
        write,
        stream(vec![WriteContentRequest {
            expected: HELLO.into(),
            ..write(WriteAction::Commit, "two", b"hello")
        }])
    );
    let undigested =
        WriteContentRequest { expected: "nonsense".into(), ..write(WriteAction::Stat, "three", b"") };
    hear!(talk, "content: with a bad digest", Client, write, stream(vec![undigested.clone()]));
    let there = WriteContentRequest { expected: HELLO.into(), ..write(WriteAction::Stat, "four", b"") };
    hear!(talk, "content: what is there", Client, write, stream(vec![there.clone()]));
    say!(talk, "content: abort none", Client, abort, AbortRequest { r#ref: "none".into() });
    for reference in ["one", "two", "three", "four"] {
        let what = format!("content: abort {reference}");
        say!(talk, &what, Client, abort, AbortRequest { r#ref: reference.into() });
    }
    read(talk).await;
    change(talk).await;
}

async fn change(talk: &mut Talk) {
    type Client<T> = ContentClient<T>;
    let update = |digest: &str, pairs: &[(&str, &str)], paths: &[&str]| UpdateRequest {
        info: Some(Info { digest: digest.into(), labels: labels(pairs), ..Info::default() }),
        update_mask: mask(paths),
    };
    say!(talk, "content: update a label", Client, update, update(HELLO, &[("b", "2"), KEPT], &["labels.b"]));
    say!(talk, "content: update all labels", Client, update, update(HELLO, &[("c", "3"), KEPT], &["labels"]));
    say!(talk, "content: update without a mask", Client, update, update(HELLO, &[("d", "4"), KEPT], &[]));
    say!(talk, "content: update the size", Client, update, update(HELLO, &[], &["size"]));
    say!(talk, "content: update none", Client, update, update(OTHER, &[("b", "2")], &["labels.b"]));
    say!(talk, "content: update with a bad digest", Client, update, update("nonsense", &[], &["labels"]));
    for filter in ["labels.d==4", "digest~=2cf2", "size==5", "labels.d=="] {
        hear!(
            talk,
            &format!("content: list {filter}"),
            Client,
            list,
            ListContentRequest { filters: vec![filter.into()] }
        );
    }
    let delete = |digest: &str| DeleteContentRequest { digest: digest.into() };
    say!(talk, "content: delete none", Client, delete, delete(OTHER));
    say!(talk, "content: delete with a bad digest", Client, delete, delete("nonsense"));
    say!(talk, "content: delete", Client, delete, delete(HELLO));
    say!(talk, "content: delete again", Client, delete, delete(HELLO));
}

async fn read(talk: &mut Talk) {
    type Client<T> = ContentClient<T>;
    let info = |digest: &str| InfoRequest { digest: digest.into() };
    say!(talk, "content: info", Client, info, info(HELLO));
    say!(talk, "content: info of none", Client, info, info(OTHER));
    say!(talk, "content: info of a bad digest", Client, info, info("nonsense"));
    let part = |digest: &str, offset, size| ReadContentRequest { digest: digest.into(), offset, size };
    for (what, request) in [
        ("content: read", part(HELLO, 0, 0)),
        ("content: read a part", part(HELLO, 1, 2)),
        ("content: read at the end", part(HELLO, 5, 0)),
        ("content: read behind the end", part(HELLO, 6, 0)),
        ("content: read too much", part(HELLO, 3, 9)),
        ("content: read before the beginning", part(HELLO, -1, 0)),
        ("content: read none", part(OTHER, 0, 0)),
        ("content: read a bad digest", part("nonsense", 0, 0)),
    ] {
        hear!(talk, what, Client, read, request.clone());
    }
}

pub(crate) async fn snapshots(talk: &mut Talk) {
    type Client<T> = SnapshotsClient<T>;
    let of =
        |snapshotter: &str| ListSnapshotsRequest { snapshotter: snapshotter.into(), filters: Vec::new() };
    let prepare = |key: &str, parent: &str| PrepareSnapshotRequest {
        snapshotter: "native".into(),
        key: key.into(),
        parent: parent.into(),
        labels: labels(&[("a", "1"), KEPT]),
    };
    let view = |key: &str, parent: &str| ViewSnapshotRequest {
        snapshotter: "native".into(),
        key: key.into(),
        parent: parent.into(),
        labels: labels(&[KEPT]),
    };
    talk.within("");
    hear!(talk, "snapshots: without a namespace", Client, list, of("native"));
    talk.within("red");
    hear!(talk, "snapshots: of an unknown snapshotter", Client, list, of("nonsense"));
    hear!(talk, "snapshots: of no snapshotter", Client, list, of(""));
    hear!(talk, "snapshots: none", Client, list, of("native"));
    // Where they are is each daemon's matter.
    for side in talk.sides() {
        SnapshotsClient::new(talk.service(&side)).prepare(prepare("base", "")).await.expect("it is prepared");
    }
    say!(talk, "snapshots: prepare again", Client, prepare, prepare("base", ""));
    say!(talk, "snapshots: prepare on none", Client, prepare, prepare("x", "none"));
    say!(talk, "snapshots: prepare on an active one", Client, prepare, prepare("x", "base"));
    let stat = |key: &str| StatSnapshotRequest { snapshotter: "native".into(), key: key.into() };
    say!(talk, "snapshots: stat", Client, stat, stat("base"));
    say!(talk, "snapshots: stat none", Client, stat, stat("none"));
    let mounts = |key: &str| MountsRequest { snapshotter: "native".into(), key: key.into() };
    say!(talk, "snapshots: mounts of none", Client, mounts, mounts("none"));
    let commit = |name: &str, key: &str| CommitSnapshotRequest {
        snapshotter: "native".into(),
        name: name.into(),
        key: key.into(),
        labels: labels(&[KEPT]),
        ..CommitSnapshotRequest::default()
    };
    say!(talk, "snapshots: commit none", Client, commit, commit("layer", "none"));
    say!(talk, "snapshots: commit", Client, commit, commit("layer", "base"));
    say!(talk, "snapshots: commit again", Client, commit, commit("layer", "base"));
    say!(talk, "snapshots: commit a committed one", Client, commit, commit("layer2", "layer"));
    say!(talk, "snapshots: mounts of a committed one", Client, mounts, mounts("layer"));
    for side in talk.sides() {
        let mut client = SnapshotsClient::new(talk.service(&side));
        client.prepare(prepare("work", "layer")).await.expect("it is prepared");
        client.view(view("seen", "layer")).await.expect("it is prepared");
    }
    say!(talk, "snapshots: commit onto a name that is taken", Client, commit, commit("layer", "work"));
    say!(talk, "snapshots: commit a view", Client, commit, commit("layer3", "seen"));
    say!(talk, "snapshots: view of none", Client, view, view("x", "none"));
    hear!(talk, "snapshots: list", Client, list, of("native"));
    let by =
        |filter: &str| ListSnapshotsRequest { snapshotter: "native".into(), filters: vec![filter.into()] };
    for filter in ["kind==view", "parent==layer", "labels.a==1", "name==base", "kind=="] {
        hear!(talk, &format!("snapshots: list {filter}"), Client, list, by(filter));
    }
    let update = |key: &str, paths: &[&str]| UpdateSnapshotRequest {
        snapshotter: "native".into(),
        info: Some(grpc::snapshots::Info {
            name: key.into(),
            labels: labels(&[("b", "2"), KEPT]),
            ..Default::default()
        }),
        update_mask: mask(paths),
    };
    say!(talk, "snapshots: update a label", Client, update, update("work", &["labels.b"]));
    say!(talk, "snapshots: update all labels", Client, update, update("work", &["labels"]));
    say!(talk, "snapshots: update the parent", Client, update, update("work", &["parent"]));
    say!(talk, "snapshots: update none", Client, update, update("none", &["labels"]));
    let usage = |key: &str| UsageRequest { snapshotter: "native".into(), key: key.into() };
    say!(talk, "snapshots: usage of none", Client, usage, usage("none"));
    let remove = |key: &str| RemoveSnapshotRequest { snapshotter: "native".into(), key: key.into() };
    say!(talk, "snapshots: remove a parent", Client, remove, remove("layer"));
    for key in ["seen", "work"] {
        say!(talk, &format!("snapshots: remove {key}"), Client, remove, remove(key));
    }
    say!(talk, "snapshots: remove", Client, remove, remove("layer"));
    say!(talk, "snapshots: remove again", Client, remove, remove("layer"));
    say!(talk, "snapshots: clean up", Client, cleanup, CleanupRequest { snapshotter: "overlayfs".into() });
    say!(
        talk,
        "snapshots: clean up nonsense",
        Client,
        cleanup,
        CleanupRequest { snapshotter: "nonsense".into() }
    );
}
