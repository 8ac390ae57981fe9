//! A disk that is full, of bytes or of files: writing fails cleanly, deleting works, also by a process that just started.

use std::fs;
use std::path::Path;

use api::code::Code;
use store::snapshots::PrepareOptions;
use store::{Commit, Store, containers, intents, volumes};

use crate::disk::Disk;

fn row(name: &str) -> containers::Container {
    containers::Container {
        uid: name.into(),
        namespace: "default".into(),
        id: name.into(),
        name: name.into(),
        owner: "test".into(),
        image: "sha256:00".into(),
        snapshot: name.into(),
        created_ns: 1,
        spec: "x".repeat(3000),
        state: "{}".into(),
    }
}

const CONTAINERS: usize = 60;

fn make(store: &Store) {
    let overlay = store.snapshots("overlay").unwrap();
    for number in 0..CONTAINERS {
        let name = number.to_string();
        overlay.prepare(&name, None, PrepareOptions::default()).unwrap();
        fs::write(overlay.directories(&name).unwrap().upper.join("file"), [1; 5000]).unwrap();
        let container = row(&name);
        store.write(Commit::Durable, move |tx| containers::insert(tx, &container)).unwrap();
    }
    drop(store.content().put(&[1; 100_000]).unwrap());
}

/// Notes an exit of every container, then removes half of them.
fn end_and_remove(store: &Store, half: usize) {
    let overlay = store.snapshots("overlay").unwrap();
    for container in store.read(|tx| containers::list(tx, "default")).unwrap() {
        let (uid, state) = (container.uid.clone(), format!("{{\"exit\":{:0100}}}", 7));
        store.write(Commit::Durable, move |tx| containers::update_state(tx, &uid, &state)).unwrap();
        if container.uid.parse::<usize>().unwrap() % 2 == half {
            let uid = container.uid.clone();
            store.write(Commit::Durable, move |tx| containers::delete(tx, &uid)).unwrap();
            overlay.remove(&container.uid).unwrap();
        }
    }
}

fn ingests(root: &Path) -> usize {
    fs::read_dir(root.join("content/ingest")).unwrap().count()
}

/// The whole story, on any file system; `fill` makes it full.
fn full(disk: &Disk, fill: &dyn Fn()) {
    let root = disk.path().join("root");
    {
        let store = Store::open(&root).unwrap();
        make(&store);
        fill();
        let error = store.content().put(&[7; 100_000]).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
        let overlay = store.snapshots("overlay").unwrap();
        match overlay.prepare("new", None, PrepareOptions::default()) {
            // Directories are free on some file systems.
            Ok(_) => overlay.remove("new").unwrap(),
            Err(error) => assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}"),
        }
        assert_eq!(ingests(&root), 0);
        end_and_remove(&store, 0);
    }
    fill();
    // A process that starts on a full disk does as well.
    let store = Store::open(&root).unwrap();
    assert_eq!(store.recovery().origin, store::Origin::Intact);
    end_and_remove(&store, 1);
    assert!(store.read(|tx| containers::list(tx, "default")).unwrap().is_empty());
    let report = store.gc().unwrap();
    assert_eq!(report.blobs.len(), 1);
    assert!(store.snapshots("overlay").unwrap().list().unwrap().is_empty());
    assert_eq!(fs::read_dir(root.join("snapshots/overlay")).unwrap().count(), 0);
    // What was deleted can be used.
    store.content().put(&[8; 50_000]).unwrap();
}

#[test]
fn on_a_full_tmpfs_writing_fails_cleanly_and_deleting_works() {
    let disk = Disk::tmpfs("size=24m");
    full(&disk, &|| disk.fill());
}

#[test]
fn on_a_full_ext4_writing_fails_cleanly_and_deleting_works() {
    let disk = Disk::ext4(&[]);
    full(&disk, &|| disk.fill());
}

#[test]
fn on_an_ext4_without_files_to_give_writing_fails_cleanly_and_deleting_works() {
    let disk = Disk::ext4(&["-N", "1200"]);
    full(&disk, &|| disk.fill_with_files());
}

#[test]
fn a_request_that_is_too_large_for_the_disk_does_not_take_its_neighbours_along_for_good() {
    let disk = Disk::tmpfs("size=24m");
    let store = Store::open(&disk.path().join("root")).unwrap();
    make(&store);
    disk.fill();
    let large = volumes::Volume {
        namespace: "default".into(),
        name: "x".repeat(20 << 20),
        labels: store::Labels::new(),
        options: store::Labels::new(),
        created_ns: 1,
    };
    // Tries until it is told that it has succeeded; what it is told is true.
    let note = &|uid: String| {
        for _ in 0..3 {
            let own = uid.clone();
            let update = move |tx: &store::Tx<'_>| containers::update_state(tx, &own, "{\"told\":1}");
            let told = store.write(Commit::Ordered, update);
            let state = store.read(|tx| containers::get(tx, &uid)).unwrap().unwrap().state;
            assert_eq!(told.is_ok(), state != "{}", "{told:?}");
            if told.is_ok() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let error = store.write(Commit::Ordered, move |tx| volumes::insert(tx, &large)).unwrap_err();
            assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
        });
        for number in 0..CONTAINERS {
            scope.spawn(move || note(number.to_string()));
        }
    });
    end_and_remove(&store, 0);
}

#[test]
fn an_intent_that_could_not_be_noted_leaves_nothing() {
    let disk = Disk::tmpfs("size=1m");
    let intents = intents::Intents::open(&disk.path()).unwrap();
    disk.fill();
    let error = intents.begin("make a volume", "a").unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    assert_eq!(fs::read_dir(disk.path().join("intents")).unwrap().count(), 0);
}

#[test]
fn a_store_that_was_removed_while_it_was_open_is_not_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let store = Store::open(&root).unwrap();
    fs::remove_dir_all(&root).unwrap();
    drop(store);
    assert!(!root.exists());
}
