//! The service of layers.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use api::types::{Descriptor, Mount};
use grpc::diff::diff_client::DiffClient;
use grpc::diff::{ApplyRequest, DiffRequest};
use grpc::snapshots::snapshots_client::SnapshotsClient;
use grpc::snapshots::{CommitSnapshotRequest, PrepareSnapshotRequest, ViewSnapshotRequest};
use oci::digest::Digest;
use store::space::ingests::{Announced, Finished};
use tonic::Code;
use tonic::transport::Channel;

use crate::served::{Served, told, within};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An archive of files with their own path as their text, plain and compressed.
fn archive(paths: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        let file = folder.path().join("tree").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, path).unwrap();
    }
    let tar = folder.path().join("tar");
    let packed =
        Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(folder.path().join("tree")).arg(".").status();
    assert!(packed.unwrap().success());
    let plain = fs::read(&tar).unwrap();
    assert!(Command::new("gzip").arg("-n").arg(&tar).status().unwrap().success());
    (plain, fs::read(folder.path().join("tar.gz")).unwrap())
}

/// Makes bytes content of the namespace `one`.
fn content(served: &Served, bytes: &[u8]) -> String {
    let ingests = served.engine.store().space("one").ingests();
    let mut writer = ingests.open(Announced { reference: "ref", ..Announced::default() }).unwrap();
    writer.write(bytes).unwrap();
    ingests.commit(writer, Finished::default()).unwrap().digest.to_string()
}

fn apply(digest: &str, media_type: &str, mounts: &[Mount]) -> ApplyRequest {
    let (digest, media_type) = (digest.to_owned(), media_type.to_owned());
    let diff = Some(Descriptor { digest, media_type, ..Descriptor::default() });
    ApplyRequest { diff, mounts: mounts.to_vec(), sync_fs: true, ..ApplyRequest::default() }
}

async fn prepare(client: &mut SnapshotsClient<Channel>, key: &str, parent: &str) -> Vec<Mount> {
    let (snapshotter, key, parent) = ("overlayfs".to_owned(), key.to_owned(), parent.to_owned());
    let request = PrepareSnapshotRequest { snapshotter, key, parent, ..Default::default() };
    client.prepare(within(request)).await.unwrap().into_inner().mounts
}

/// Without it the next collection takes what was made.
fn kept() -> HashMap<String, String> {
    [("containerd.io/gc.root".to_owned(), "1".to_owned())].into()
}

/// Whose mounts they are.
fn snapshotter_of(mounts: &[Mount]) -> &'static str {
    if mounts[0].source.contains("/native/") { "native" } else { "overlayfs" }
}

/// Runs a script in what mounts show.
fn write(mounts: &[Mount], script: &str) {
    let point = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
    let options = mounts[0].options.join(",");
    let kind = if mounts[0].r#type == "bind" { "none" } else { &mounts[0].r#type };
    let arguments = ["-t", kind, "-o", &options, &mounts[0].source];
    assert!(Command::new("mount").args(arguments).arg(point.path()).status().unwrap().success());
    let run = Command::new("sh").args(["-euc", script]).current_dir(point.path()).status().unwrap();
    assert!(Command::new("umount").arg(point.path()).status().unwrap().success());
    assert!(run.success(), "{script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_applied_one_on_the_other() {
    let served = Served::open().await;
    let mut snapshots = SnapshotsClient::new(served.channel().await);
    let mut diff = DiffClient::new(served.channel().await);
    let mounts = prepare(&mut snapshots, "work", "").await;
    let (plain, compressed) = archive(&["a", "d/b"]);
    let layer = content(&served, &compressed);
    let applied =
        diff.apply(within(apply(&layer, GZIP, &mounts))).await.unwrap().into_inner().applied.unwrap();
    let expected = Descriptor {
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        digest: Digest::of(&plain).to_string(),
        size: i64::try_from(plain.len()).unwrap(),
        ..Descriptor::default()
    };
    assert_eq!(applied, expected);
    let (snapshotter, name, key) = ("overlayfs".into(), "base".into(), "work".into());
    let commit = CommitSnapshotRequest { snapshotter, name, key, ..Default::default() };
    snapshots.commit(within(commit)).await.unwrap();
    let mounts = prepare(&mut snapshots, "top", "base").await;
    let (_, above) = archive(&["d/.wh.b", "d/c"]);
    let above = content(&served, &above);
    diff.apply(within(apply(&above, GZIP, &mounts))).await.unwrap();
    let point = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
    let options = mounts[0].options.join(",");
    let mount =
        Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(point.path()).status();
    assert!(mount.unwrap().success(), "mounting needs root");
    let paths = ["a", "d/b", "d/c"].map(|path| fs::read_to_string(point.path().join(path)).ok());
    assert!(Command::new("umount").arg(point.path()).status().unwrap().success());
    assert_eq!(paths, [Some("a".into()), None, Some("d/c".into())]);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_goes_nowhere_else() {
    let served = Served::open().await;
    let mut snapshots = SnapshotsClient::new(served.channel().await);
    let mut diff = DiffClient::new(served.channel().await);
    let mounts = prepare(&mut snapshots, "work", "").await;
    let layer = content(&served, &archive(&["a"]).1);
    let elsewhere = tempfile::tempdir().unwrap();
    let source = elsewhere.path().to_str().unwrap().to_owned();
    let bind = Mount {
        r#type: "bind".into(),
        source,
        options: vec!["rbind".into(), "rw".into()],
        ..Mount::default()
    };
    let refused = told(diff.apply(within(apply(&layer, GZIP, &[bind]))).await);
    assert_eq!(refused.0, Code::InvalidArgument);
    assert!(refused.1.contains("nothing is done with other files"), "{refused:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    let mut other = within(apply(&layer, GZIP, &mounts));
    other.metadata_mut().insert("containerd-namespace", "other".parse().unwrap());
    assert_eq!(told(diff.apply(other).await).0, Code::NotFound, "it has no such content");
    let unknown = told(diff.apply(within(apply(&layer, "x/y", &mounts))).await);
    let text = "failed to get stream processor for x/y: no processor for media-type";
    assert_eq!(unknown, (Code::Unknown, text.to_owned()));
    let plain = "application/vnd.oci.image.layer.v1.tar";
    assert!(told(diff.apply(within(apply(&layer, plain, &mounts))).await).1.contains("invalid tar header"));
    assert_eq!(told(diff.apply(within(apply("x", GZIP, &mounts))).await).0, Code::NotFound);
    assert_eq!(fs::read_dir(&mounts[0].source).unwrap().count(), 0, "nothing was written");
    let unknown = DiffRequest { media_type: "x/y".into(), ..DiffRequest::default() };
    let text = "unsupported diff media type: x/y: not implemented";
    assert_eq!(told(diff.diff(within(unknown)).await), (Code::Unimplemented, text.to_owned()));
    let left = vec![Mount { r#type: "bind".into(), source: "/etc".into(), ..Mount::default() }];
    let (code, text) = told(diff.diff(within(DiffRequest { left, ..DiffRequest::default() })).await);
    assert!(code == Code::InvalidArgument && text.contains("nothing is done with other files"), "{text}");
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_comes_out_as_it_is() {
    let served = Served::open().await;
    let mut snapshots = SnapshotsClient::new(served.channel().await);
    let mut diff = DiffClient::new(served.channel().await);
    let mounts = prepare(&mut snapshots, "work", "").await;
    let base = std::path::Path::new(&mounts[0].source);
    fs::create_dir(base.join("proc")).unwrap();
    fs::write(base.join("old"), "old").unwrap();
    let (snapshotter, name, key) = ("overlayfs".into(), "base".into(), "work".into());
    let commit = CommitSnapshotRequest { snapshotter, name, key, ..Default::default() };
    snapshots.commit(within(commit)).await.unwrap();
    let right = prepare(&mut snapshots, "top", "base").await;
    let upper =
        right[0].options.iter().find_map(|option| option.strip_prefix("upperdir=")).unwrap().to_owned();
    fs::write(format!("{upper}/new"), "new").unwrap();
    assert!(Command::new("mknod").args([&format!("{upper}/old"), "c", "0", "0"]).status().unwrap().success());
    let view = ViewSnapshotRequest {
        snapshotter: "overlayfs".into(),
        key: "view".into(),
        parent: "base".into(),
        ..Default::default()
    };
    let left = snapshots.view(within(view)).await.unwrap().into_inner().mounts;
    let none =
        ViewSnapshotRequest { snapshotter: "overlayfs".into(), key: "none".into(), ..Default::default() };
    let none = snapshots.view(within(none)).await.unwrap().into_inner().mounts;
    let ask = |left: &[Mount], right: &[Mount], media_type: &str| DiffRequest {
        left: left.to_vec(),
        right: right.to_vec(),
        media_type: media_type.into(),
        labels: [("own".to_owned(), "1".to_owned())].into(),
        source_date_epoch: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..DiffRequest::default()
    };
    let plain = "application/vnd.oci.image.layer.v1.tar";
    for (left, right, expected) in [(&left, &right, "new .wh.old"), (&none, &left, "old proc/")] {
        let mut diff_ids = Vec::new();
        for media_type in [plain, "", "application/vnd.oci.image.layer.v1.tar+zstd"] {
            let made =
                diff.diff(within(ask(left, right, media_type))).await.unwrap().into_inner().diff.unwrap();
            let digest = Digest::parse(&made.digest).unwrap();
            let (info, _) = served.engine.store().space("one").content().open(&digest).unwrap();
            assert_eq!(
                (info.size, info.labels.get("own").map(String::as_str)),
                (made.size as u64, Some("1"))
            );
            diff_ids.push(info.labels.get("containerd.io/uncompressed").cloned());
            if media_type == plain {
                let blob = served.directory.path().join("root/content/blobs/sha256").join(digest.hex());
                let tar = Command::new("tar").args(["--utc", "-tvf"]).arg(blob).output().unwrap();
                let lines = String::from_utf8(tar.stdout).unwrap();
                let names: Vec<&str> =
                    lines.lines().filter_map(|line| line.split_whitespace().last()).collect();
                assert_eq!(names.join(" "), expected);
                assert_eq!(lines.matches("1970-01-01 00:00").count(), names.len(), "{lines}");
                diff_ids = vec![Some(made.digest)];
            }
        }
        assert!(diff_ids.iter().all(|id| *id == diff_ids[0]), "{diff_ids:?}");
    }
    served.close().await;
}

/// The names in the layer that makes `right` of `left`, and its media type.
async fn names(
    served: &Served,
    diff: &mut DiffClient<Channel>,
    [left, right]: [&[Mount]; 2],
    reference: &str,
) -> Vec<String> {
    let message = DiffRequest {
        left: left.to_vec(),
        right: right.to_vec(),
        r#ref: reference.into(),
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        ..DiffRequest::default()
    };
    let made = diff.diff(within(message)).await.unwrap().into_inner().diff.unwrap();
    assert_eq!(made.media_type, "application/vnd.oci.image.layer.v1.tar");
    let digest = Digest::parse(&made.digest).unwrap();
    let blob = served.directory.path().join("root/content/blobs/sha256").join(digest.hex());
    let tar = Command::new("tar").arg("-tf").arg(blob).output().unwrap();
    String::from_utf8(tar.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_snapshots_have_a_difference() {
    let served = Served::open().await;
    let mut snapshots = SnapshotsClient::new(served.channel().await);
    let mut diff = DiffClient::new(served.channel().await);
    for snapshotter in ["overlayfs", "native"] {
        let mut parent = String::new();
        for (name, script) in [
            ("base", "mkdir d; echo 1 >d/one; echo 2 >two; ln two three; touch -d @1 d/one"),
            ("middle", "rm -f d/gone; echo 3 >d/three"),
            ("top", "rm -r d/three; echo 4 >>two; mkdir e"),
        ] {
            let creation = (snapshotter.to_owned(), "work".to_owned(), parent.clone());
            let (snapshotter, key, parent_of) = creation;
            let request = PrepareSnapshotRequest { snapshotter, key, parent: parent_of, labels: kept() };
            let mounts = snapshots.prepare(within(request)).await.unwrap().into_inner().mounts;
            write(&mounts, script);
            let commit = CommitSnapshotRequest {
                snapshotter: snapshotter_of(&mounts).into(),
                name: name.into(),
                key: "work".into(),
                labels: kept(),
                ..Default::default()
            };
            snapshots.commit(within(commit)).await.unwrap();
            parent = name.into();
        }
        let mut view = async |parent: &str| {
            let (snapshotter, key) = (snapshotter.to_owned(), format!("view-{parent}"));
            let request = ViewSnapshotRequest { snapshotter, key, parent: parent.into(), labels: kept() };
            snapshots.view(within(request)).await.unwrap().into_inner().mounts
        };
        let (none, base, top) = (view("").await, view("base").await, view("top").await);
        // An overlay's copy of a file is no other name of it any more; then the old names are made those of the old file again.
        let (changed, back) = match snapshotter {
            "native" => (&["e/", "three", "two"][..], [".wh.e", "three", "two"]),
            _ => (&["e/", "two"][..], [".wh.e", "two", "three"]),
        };
        for (trees, expected) in [
            ([&base[..], &top], changed),
            ([&top, &base], &back),
            ([&none, &base], &["d/", "d/one", "three", "two"]),
            ([&[], &base], &["d/", "d/one", "three", "two"]),
            ([&base, &[]], &[".wh.d", ".wh.three", ".wh.two"]),
            ([&base, &base], &[]),
            ([&[], &[]], &[]),
        ] {
            // What another difference left under the ref is written over.
            let found = names(&served, &mut diff, trees, "same").await;
            assert_eq!(found, expected, "{snapshotter}: {trees:?}");
        }
    }
    served.close().await;
}
