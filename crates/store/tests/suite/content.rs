//! Content: what is under a digest is what the digest says.

use std::fs;
use std::io::Write as _;

use api::code::Code;
use oci::digest::Digest;
use store::Store;

#[test]
fn a_blob_is_stored_once_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let content = store.content();
    let (blob, _pin) = content.put(b"bytes").unwrap();
    assert_eq!((blob.size, &blob.digest), (5, &Digest::of(b"bytes")));
    let (again, _pin) = content.put(b"bytes").unwrap();
    assert_eq!(again, blob);
    assert_eq!(content.read_small(&blob.digest, 5).unwrap(), b"bytes");
    assert_eq!(content.read_small(&blob.digest, 4).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(content.list().unwrap(), std::slice::from_ref(&blob));
    content.verify(&blob.digest).unwrap();
    let missing = Digest::of(b"other");
    assert_eq!(content.info(&missing).unwrap(), None);
    assert_eq!(content.open_blob(&missing).unwrap_err().code(), Code::NotFound);
    assert_eq!(ingests(root.path()), 0);
}

#[test]
fn wrong_digests_and_too_many_bytes_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut ingest = store.content().ingest(100).unwrap();
    ingest.write_all(b"bytes").unwrap();
    let error = ingest.commit(Some(&Digest::of(b"other"))).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains(Digest::of(b"bytes").as_str()), "{error}");
    let mut ingest = store.content().ingest(4).unwrap();
    assert!(ingest.write_all(b"bytes").is_err());
    drop(ingest);
    assert_eq!((store.content().list().unwrap().len(), ingests(root.path())), (0, 0));
}

#[test]
fn a_damaged_blob_does_not_verify() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (blob, _pin) = store.content().put(b"bytes").unwrap();
    fs::write(root.path().join("content/blobs/sha256").join(blob.digest.hex()), b"bytez").unwrap();
    assert_eq!(store.content().verify(&blob.digest).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_blob_that_lost_its_bytes_is_healed_by_storing_it_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let (blob, _pin) = store.content().put(b"bytes").unwrap();
    let path = root.path().join("content/blobs/sha256").join(blob.digest.hex());
    fs::write(&path, b"").unwrap();
    let (again, _pin) = store.content().put(b"bytes").unwrap();
    assert_eq!(again, blob);
    store.content().verify(&blob.digest).unwrap();
    assert!(fs::metadata(&path).unwrap().permissions().readonly());
}

#[test]
fn eight_writers_of_one_blob_agree() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..20u8 {
                    let (blob, _pin) = store.content().put(&[number; 10_000]).unwrap();
                    store.content().verify(&blob.digest).unwrap();
                }
            });
        }
    });
    assert_eq!((store.content().list().unwrap().len(), ingests(root.path())), (20, 0));
}

#[test]
fn what_a_dead_process_was_writing_is_removed_at_the_next_open() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).unwrap());
    let leftover = root.path().join("content/ingest/1-1");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("data"), b"half").unwrap();
    fs::write(root.path().join("content/ingest/stray"), b"a blob on its way out").unwrap();
    let _store = Store::open(root.path()).unwrap();
    assert_eq!(ingests(root.path()), 0);
}

fn ingests(root: &std::path::Path) -> usize {
    fs::read_dir(root.join("content/ingest")).unwrap().count()
}
