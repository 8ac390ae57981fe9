//! Content as clients of containerd's services write and see it.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Barrier;

use api::code::Code;
use oci::descriptor::Descriptor;
use oci::digest::{Algorithm, Digest, Hasher};
use oci::image_config::ImageConfig;
use oci::manifest::{Manifest, media_type};
use store::edges::Held;
use store::space::content::Info;
use store::space::ingests::{Announced, Finished, Status, Writer};
use store::space::labels::Mask;
use store::space::leases::Resource;
use store::{Commit, Error, Labels, Store, edges, images};

/// Content with this label is never collected.
const ROOT: (&str, &str) = ("containerd.io/gc.root", "now");

fn announced(reference: &str) -> Announced<'_> {
    Announced { reference, ..Announced::default() }
}

fn open(store: &Store, reference: &str) -> Writer {
    store.space("a").ingests().open(announced(reference)).unwrap()
}

fn put(store: &Store, namespace: &str, bytes: &[u8]) -> Info {
    let ingests = store.space(namespace).ingests();
    let mut writer = ingests.open(announced("put")).unwrap();
    writer.write(bytes).unwrap();
    ingests.commit(writer, Finished::default()).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn uploads(root: &Path) -> usize {
    fs::read_dir(root.join("content/uploads")).unwrap().count()
}

fn code<T: std::fmt::Debug>(result: store::Result<T>) -> Code {
    result.unwrap_err().code()
}

fn offset(store: &Store, reference: &str) -> u64 {
    store.space("a").ingests().status(reference).unwrap().offset
}

#[test]
fn what_is_committed_is_content_of_its_namespace_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    let mut writer = open(&store, "ref");
    writer.write(b"by").unwrap();
    writer.write(b"tes").unwrap();
    assert_eq!(writer.digest(), Digest::of(b"bytes"));
    let wanted = labels(&[("k", "v"), ("empty", "")]);
    let finished = Finished { size: 5, expected: Some(&Digest::of(b"bytes")), labels: wanted, lease: None };
    let info = ingests.commit(writer, finished).unwrap();
    assert_eq!((info.size, &info.labels), (5, &labels(&[("k", "v")])));
    assert_eq!(store.space("a").content().info(&info.digest).unwrap(), info);
    assert_eq!(store.space("a").content().page(None).unwrap(), std::slice::from_ref(&info));
    assert_eq!(code(store.space("b").content().info(&info.digest)), Code::NotFound);
    assert_eq!(code(store.space("b").content().open(&info.digest)), Code::NotFound);
    let mut bytes = String::new();
    store.space("a").content().open(&info.digest).unwrap().1.read_to_string(&mut bytes).unwrap();
    assert_eq!(bytes, "bytes");
    assert_eq!(code(ingests.status("ref")), Code::NotFound);
    assert_eq!(uploads(root.path()), 0);
}

#[test]
fn a_ref_is_written_by_one_at_a_time_and_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    let mut writer = ingests.open(Announced { total: 10, ..announced("ref") }).unwrap();
    writer.write(b"12345").unwrap();
    let second = ingests.open(announced("ref")).unwrap_err();
    assert!(matches!(&second, Error::Writing { reference, .. } if reference.starts_with("a/")), "{second}");
    assert_eq!(second.code(), Code::Unavailable);
    // Another namespace has refs of its own.
    drop(store.space("b").ingests().open(announced("ref")).unwrap());
    let before = writer.status();
    drop(writer);
    let writer = ingests.open(announced("ref")).unwrap();
    assert_eq!((before.offset, before.total), (5, 10));
    assert_eq!(writer.status(), before, "as it was left, to the nanosecond");
    assert_eq!(writer.digest(), Digest::of(b"12345"));
    drop(writer);
    drop(store);
    let store = Store::open(root.path()).unwrap();
    assert_eq!(offset(&store, "ref"), 5, "also after the process was another one");
    let mut writer = open(&store, "ref");
    writer.write(b"67890").unwrap();
    let info = store.space("a").ingests().commit(writer, Finished::default()).unwrap();
    assert_eq!(info.digest, Digest::of(b"1234567890"));
}

#[test]
fn another_total_begins_again_and_restart_throws_away() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    let mut writer = ingests.open(Announced { total: 10, ..announced("ref") }).unwrap();
    writer.write(b"12345").unwrap();
    drop(writer);
    let mut writer = ingests.open(Announced { total: 3, ..announced("ref") }).unwrap();
    assert_eq!((writer.status().offset, writer.status().total), (0, 3));
    writer.write(b"123456").unwrap();
    writer.restart().unwrap();
    assert_eq!((writer.status().offset, writer.digest()), (0, Digest::of(b"")));
    writer.write(b"abc").unwrap();
    drop(writer);
    assert_eq!(offset(&store, "ref"), 3);
    assert_eq!(ingests.list().unwrap()[0].total, 3);
}

#[test]
fn a_commit_of_something_else_fails_and_keeps_what_was_written() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    let mut writer = open(&store, "ref");
    writer.write(b"bytes").unwrap();
    let error = ingests.commit(writer, Finished { size: 4, ..Finished::default() }).unwrap_err();
    assert!(matches!(error, Error::CommitSize { actual: 5, expected: 4, .. }), "{error}");
    let other = Digest::of(b"other");
    let finished = Finished { expected: Some(&other), ..Finished::default() };
    let error = ingests.commit(open(&store, "ref"), finished).unwrap_err();
    assert!(
        matches!(&error, Error::CommitDigest { actual, .. } if *actual == Digest::of(b"bytes")),
        "{error}"
    );
    assert_eq!(error.code(), Code::FailedPrecondition);
    let large = labels(&[("k", &"v".repeat(5000))]);
    let finished = Finished { labels: large, ..Finished::default() };
    assert_eq!(code(ingests.commit(open(&store, "ref"), finished)), Code::InvalidArgument);
    assert_eq!(offset(&store, "ref"), 5);
    ingests.commit(open(&store, "ref"), Finished::default()).unwrap();
}

#[test]
fn what_the_namespace_has_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let info = put(&store, "a", b"bytes");
    let ingests = store.space("a").ingests();
    let lease = store.space("a").leases().create(Some("l"), Labels::new()).unwrap();
    let wanted = Announced { expected: Some(&info.digest), lease: Some("l"), ..announced("ref") };
    assert_eq!(code(ingests.open(wanted)), Code::AlreadyExists);
    let held = store.space("a").leases().resources(&lease.id).unwrap();
    assert_eq!(held, [Resource::Content(info.digest.clone())], "the lease holds it from now on");
    assert_eq!(code(ingests.status("ref")), Code::NotFound);
    let mut writer = open(&store, "ref");
    writer.write(b"bytes").unwrap();
    assert_eq!(code(ingests.commit(writer, Finished::default())), Code::AlreadyExists);
    assert_eq!((code(ingests.status("ref")), uploads(root.path())), (Code::NotFound, 0));
}

#[test]
fn a_blob_of_another_namespace_needs_no_bytes() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let info = put(&store, "a", b"bytes");
    let ingests = store.space("b").ingests();
    let wanted = Announced { expected: Some(&info.digest), ..announced("ref") };
    let writer = ingests.open(wanted).unwrap();
    assert_eq!((writer.status().offset, writer.status().total), (5, 5));
    assert_eq!(writer.digest(), info.digest);
    // The first namespace forgets it; the ingest holds it.
    store.space("a").content().delete(&info.digest, None).unwrap();
    store.gc().unwrap();
    ingests.commit(writer, Finished { labels: labels(&[ROOT]), ..Finished::default() }).unwrap();
    store.gc().unwrap();
    assert_eq!(store.space("b").content().info(&info.digest).unwrap().labels, labels(&[ROOT]));
    store.content().verify(&info.digest).unwrap();
    // With another size it is another blob.
    let wanted = Announced { total: 6, expected: Some(&info.digest), ..announced("ref") };
    assert_eq!(store.space("c").ingests().open(wanted).unwrap().status().offset, 0);
}

#[test]
fn what_is_appended_to_a_shared_blob_does_not_change_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let info = put(&store, "a", b"bytes");
    let ingests = store.space("b").ingests();
    let wanted = Announced { expected: Some(&info.digest), ..announced("ref") };
    let mut writer = ingests.open(wanted).unwrap();
    writer.write(b" and more").unwrap();
    assert_eq!(writer.status().offset, 14);
    let more = ingests.commit(writer, Finished::default()).unwrap();
    assert_eq!(more.digest, Digest::of(b"bytes and more"));
    store.content().verify(&info.digest).unwrap();
    let mut writer = ingests.open(wanted).unwrap();
    writer.restart().unwrap();
    writer.write(b"new").unwrap();
    assert_eq!(ingests.commit(writer, Finished::default()).unwrap().digest, Digest::of(b"new"));
    store.content().verify(&info.digest).unwrap();
}

#[test]
fn every_algorithm_is_kept_whether_it_is_announced_or_told_at_the_end() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    for algorithm in Algorithm::ALL {
        for is_announced in [true, false] {
            let bytes = format!("{} {is_announced}", algorithm.name());
            let mut hasher = Hasher::new(algorithm);
            hasher.update(bytes.as_bytes());
            let digest = hasher.finish();
            let expected = is_announced.then_some(&digest);
            let mut writer = ingests.open(Announced { expected, ..announced("ref") }).unwrap();
            writer.write(bytes.as_bytes()).unwrap();
            let finished =
                Finished { expected: Some(&digest), labels: labels(&[ROOT]), ..Finished::default() };
            assert_eq!(ingests.commit(writer, finished).unwrap().digest, digest);
            store.content().verify(&digest).unwrap();
            assert!(root.path().join("content/blobs").join(algorithm.name()).join(digest.hex()).is_file());
        }
    }
    assert_eq!(store.content().list().unwrap().len(), 6);
    store.gc().unwrap();
    assert_eq!(store.content().list().unwrap().len(), 6);
}

#[test]
fn an_aborted_ingest_is_gone_even_while_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let ingests = store.space("a").ingests();
    assert_eq!(code(ingests.abort("ref", None)), Code::NotFound);
    let mut writer = open(&store, "ref");
    writer.write(b"bytes").unwrap();
    ingests.abort("ref", None).unwrap();
    assert!(ingests.list().unwrap().is_empty());
    writer.write(b"more").unwrap();
    assert_eq!(code(ingests.commit(writer, Finished::default())), Code::NotFound);
    assert_eq!(uploads(root.path()), 0);
    assert_eq!(open(&store, "ref").status().offset, 0);
}

#[test]
fn a_lease_holds_what_is_written_and_a_missing_one_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (ingests, leases) = (store.space("a").ingests(), store.space("a").leases());
    let with = |lease| Announced { lease: Some(lease), ..announced("ref") };
    assert!(matches!(ingests.open(with("none")), Err(Error::NoLease { .. })));
    assert!(ingests.list().unwrap().is_empty());
    leases.create(Some("l"), Labels::new()).unwrap();
    let mut writer = ingests.open(with("l")).unwrap();
    writer.write(b"bytes").unwrap();
    assert_eq!(leases.resources("l").unwrap(), [Resource::Ingest("ref".into())]);
    let info = ingests.commit(writer, Finished { lease: Some("l"), ..Finished::default() }).unwrap();
    assert_eq!(leases.resources("l").unwrap(), [Resource::Content(info.digest.clone())]);
    store.space("a").content().delete(&info.digest, Some("l")).unwrap();
    assert_eq!(leases.resources("l").unwrap(), []);
}

#[test]
fn labels_are_updated_by_their_mask() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let digest = put(&store, "a", b"bytes").digest;
    let content = store.space("a").content();
    let update = labels(&[("a", "1"), ("b", "2")]);
    assert_eq!(content.update(&digest, update.clone(), Mask::All).unwrap().labels, update);
    let info = content.update(&digest, Labels::new(), Mask::Keys(vec!["a".into()])).unwrap();
    assert_eq!(info.labels, labels(&[("b", "2")]));
    assert!(info.updated_ns > info.created_ns);
    assert_eq!(content.info(&digest).unwrap(), info);
    assert_eq!(code(content.update(&Digest::of(b"other"), Labels::new(), Mask::All)), Code::NotFound);
}

#[test]
fn content_is_listed_page_by_page() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut digests: Vec<Digest> =
        (0..230).map(|number: u32| put(&store, "a", &number.to_be_bytes()).digest).collect();
    digests.sort();
    let mut found = Vec::new();
    for length in [100, 100, 30, 0] {
        let page = store.space("a").content().page(found.last()).unwrap();
        assert_eq!(page.len(), length);
        found.extend(page.into_iter().map(|info| info.digest));
    }
    assert_eq!(found, digests);
}

#[test]
fn what_a_killed_process_left_is_cleared_and_what_it_was_told_is_there() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut writer = open(&store, "written");
    writer.write(b"bytes").unwrap();
    drop(writer);
    for reference in ["gone", "becoming"] {
        let mut writer = open(&store, reference);
        writer.write(reference.as_bytes()).unwrap();
    }
    drop(store);
    let connection = rusqlite::Connection::open(root.path().join("metadata.db")).unwrap();
    let folder = |reference: &str| {
        let sql = "SELECT upload FROM space_ingests WHERE ref = ?1";
        let name: String = connection.query_row(sql, [reference], |row| row.get(0)).unwrap();
        root.path().join("content/uploads").join(name)
    };
    fs::remove_dir_all(folder("gone")).unwrap();
    // It became a blob, and the row was not told.
    let digest = Digest::of(b"becoming");
    let blob = root.path().join("content/blobs/sha256").join(digest.hex());
    fs::rename(folder("becoming").join("data"), blob).unwrap();
    let sql = "UPDATE space_ingests SET expected = ?1 WHERE ref = 'becoming'";
    connection.execute(sql, [digest.as_str()]).unwrap();
    drop(connection);
    fs::create_dir(root.path().join("content/uploads/1-1")).unwrap();
    fs::write(root.path().join("content/uploads/1-1/data"), b"nobody's").unwrap();
    let store = Store::open(root.path()).unwrap();
    assert!(!root.path().join("content/uploads/1-1").exists());
    store.gc().unwrap();
    let ingests = store.space("a").ingests();
    assert_eq!(offset(&store, "written"), 5);
    assert_eq!(code(ingests.status("gone")), Code::NotFound);
    let writer = open(&store, "becoming");
    assert_eq!((writer.status().offset, writer.digest()), (8, digest));
    ingests.commit(writer, Finished::default()).unwrap();
}

/// An image as the engine stores one: its manifest, configuration and layer.
fn engine_image(store: &Store, namespace: &'static str) -> [Digest; 3] {
    let (layer, _pin) = store.content().put(b"a layer").unwrap();
    let diff_id = Digest::of(b"a layer, uncompressed");
    let mut config = ImageConfig::parse(br#"{"architecture":"amd64","os":"linux"}"#).unwrap();
    config.rootfs.diff_ids = vec![diff_id];
    let (config, _pin) = store.content().put(&config.to_json()).unwrap();
    let descriptor = |kind: &str, blob: &store::Blob| Descriptor::new(kind, blob.digest.clone(), blob.size);
    let manifest = Manifest::new(
        descriptor(media_type::OCI_CONFIG, &config),
        vec![descriptor(media_type::OCI_LAYER_GZIP, &layer)],
    );
    let (manifest, _pin) = store.content().put(&manifest.to_json()).unwrap();
    let record = images::Image {
        namespace: namespace.into(),
        name: "image".into(),
        target: descriptor(media_type::OCI_MANIFEST, &manifest),
        created_ns: 1,
        updated_ns: 1,
        labels: Labels::new(),
    };
    let digests = [manifest.digest, config.digest, layer.digest];
    let [parent, config, layer] = digests.clone();
    store
        .write(Commit::Durable, move |tx| {
            edges::add(tx, &parent, Held::Blob(&config))?;
            edges::add(tx, &parent, Held::Blob(&layer))?;
            edges::add(tx, &parent, Held::Snapshot("sha256:chain"))?;
            images::put(tx, &record)
        })
        .unwrap();
    digests
}

#[test]
fn what_the_engine_stored_for_an_image_is_content_of_its_namespace() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let [manifest, config, layer] = engine_image(&store, "a");
    let content = store.space("a").content();
    let expected = labels(&[
        ("containerd.io/gc.ref.content.config", config.as_str()),
        ("containerd.io/gc.ref.content.l.0", layer.as_str()),
    ]);
    assert_eq!(content.info(&manifest).unwrap().labels, expected);
    let snapshot = labels(&[("containerd.io/gc.ref.snapshot.overlayfs", "sha256:chain")]);
    assert_eq!(content.info(&config).unwrap().labels, snapshot);
    let diff_id = Digest::of(b"a layer, uncompressed");
    let uncompressed = labels(&[("containerd.io/uncompressed", diff_id.as_str())]);
    assert_eq!(content.info(&layer).unwrap().labels, uncompressed);
    assert_eq!(content.page(None).unwrap().len(), 3);
    assert!(store.space("b").content().page(None).unwrap().is_empty());
    let wanted = Announced { expected: Some(&layer), ..announced("ref") };
    assert_eq!(code(store.space("a").ingests().open(wanted)), Code::AlreadyExists);
}

#[test]
fn eight_clients_that_ask_first_at_once_all_find_it() {
    for _round in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let digests = engine_image(&store, "a");
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _client in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    digests.iter().for_each(|digest| drop(store.space("a").content().info(digest).unwrap()));
                });
            }
        });
    }
}

#[test]
fn what_a_client_deletes_of_an_image_of_the_engine_stays_for_the_engine_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let [manifest, config, layer] = engine_image(&store, "a");
    let content = store.space("a").content();
    content.delete(&layer, None).unwrap();
    assert_eq!(code(content.info(&layer)), Code::NotFound);
    assert_eq!(content.page(None).unwrap().len(), 2);
    store.gc().unwrap();
    store.content().verify(&layer).unwrap();
    // Written again it is content like all other.
    let wanted = Announced { expected: Some(&layer), ..announced("ref") };
    let ingests = store.space("a").ingests();
    ingests.commit(ingests.open(wanted).unwrap(), Finished::default()).unwrap();
    content.delete(&layer, None).unwrap();
    assert_eq!(content.page(None).unwrap().len(), 2);
    // When the engine needs it no more, nobody does.
    store.write(Commit::Durable, |tx| images::delete(tx, "a", "image")).unwrap();
    [manifest, config].iter().for_each(|digest| content.delete(digest, None).unwrap());
    store.gc().unwrap();
    assert_eq!(code(store.content().open_blob(&layer)), Code::NotFound);
}

#[test]
fn eight_clients_that_write_one_blob_agree() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let bytes = vec![7; 100_000];
    let commit = |number: usize| {
        let reference = format!("ref {number}");
        let ingests = store.space(if number.is_multiple_of(2) { "a" } else { "b" }).ingests();
        let mut writer = ingests.open(announced(&reference)).unwrap();
        bytes.chunks(1000).for_each(|chunk| writer.write(chunk).unwrap());
        ingests.commit(writer, Finished::default()).map(|info| info.digest)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || commit(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2, "once for each namespace");
    let others = results.iter().filter_map(|result| result.as_ref().err());
    assert!(others.into_iter().all(|error| error.code() == Code::AlreadyExists));
    store.content().verify(&Digest::of(&bytes)).unwrap();
    assert_eq!(uploads(root.path()), 0);
}

#[test]
fn refs_that_no_database_of_containerd_keeps_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for reference in [String::new(), "r".repeat(40 << 10)] {
        assert_eq!(code(store.space("a").ingests().open(announced(&reference))), Code::InvalidArgument);
    }
    let strange = "../../etc/\n\u{0}passwd";
    let statuses = |store: &Store| -> Vec<Status> { store.space("a").ingests().list().unwrap() };
    open(&store, strange).write(b"bytes").unwrap();
    assert_eq!(statuses(&store)[0].reference, strange);
}
