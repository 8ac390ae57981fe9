//! The database: batches, classes of commit, damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use api::code::Code;
use store::{Commit, Error, Origin, Store, containers, volumes};

fn container(name: &str) -> containers::Container {
    containers::Container {
        uid: format!("uid-{name}"),
        namespace: "default".into(),
        id: format!("id-{name}"),
        name: name.into(),
        owner: "test".into(),
        image: "sha256:00".into(),
        snapshot: format!("uid-{name}"),
        created_ns: 1,
        spec: "{}".into(),
        state: "{}".into(),
    }
}

fn insert(store: &Store, name: &str) -> store::Result<()> {
    let row = container(name);
    store.write(Commit::Durable, move |tx| containers::insert(tx, &row))
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> =
        store.read(|tx| containers::list(tx, "default")).unwrap().into_iter().map(|row| row.name).collect();
    names.sort();
    names
}

#[test]
fn records_are_unique_and_say_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    insert(&store, "a").unwrap();
    assert_eq!(insert(&store, "a").unwrap_err().code(), Code::AlreadyExists);
    insert(&store, "b").unwrap();
    let renamed = store.write(Commit::Ordered, |tx| containers::rename(tx, "uid-b", "a"));
    assert_eq!(renamed.unwrap_err().code(), Code::AlreadyExists);
    store.write(Commit::Ordered, |tx| containers::update_state(tx, "uid-a", "{\"x\":1}")).unwrap();
    assert_eq!(store.read(|tx| containers::get(tx, "uid-a")).unwrap().unwrap().state, "{\"x\":1}");
    assert_eq!(store.read(|tx| containers::by_name(tx, "default", "b")).unwrap().unwrap().uid, "uid-b");
    let missing = store.write(Commit::Ordered, |tx| containers::delete(tx, "uid-c"));
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    let volume = volumes::Volume {
        namespace: "default".into(),
        name: "v".into(),
        labels: [("k".to_owned(), "x".to_owned())].into(),
        options: volumes_empty(),
        created_ns: 5,
    };
    let row = volume.clone();
    store.write(Commit::Durable, move |tx| volumes::insert(tx, &row)).unwrap();
    assert_eq!(store.read(|tx| volumes::list(tx, "default")).unwrap(), [volume]);
}

fn volumes_empty() -> store::Labels {
    store::Labels::new()
}

#[test]
fn a_write_that_fails_does_not_disturb_its_neighbours() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(root.path()).unwrap());
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for number in 0..50 {
                    let row = container(&format!("{writer}-{number}"));
                    let result = store.write(Commit::Ordered, move |tx| {
                        containers::insert(tx, &row)?;
                        let wrong = Error::NotFound { kind: "test", name: "on purpose".into() };
                        (number % 10 != 3).then_some(()).ok_or(wrong)
                    });
                    assert_eq!(result.is_err(), number % 10 == 3, "{number}: {result:?}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(names(&store).len(), 8 * 45, "what failed is undone, all else is there");
}

#[test]
fn a_second_process_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let _store = Store::open(root.path()).unwrap();
    let error = Store::open(root.path()).unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
}

/// Opens after the damage; it must always open.
fn damaged(harm: impl Fn(&Path), with_backup: bool) -> (Origin, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    {
        let store = Store::open(root.path()).unwrap();
        insert(&store, "kept").unwrap();
        if with_backup {
            store.backup().unwrap();
        }
        insert(&store, "newer").unwrap();
    }
    harm(&root.path().join("metadata.db"));
    let store = Store::open(root.path()).unwrap();
    (store.recovery().origin.clone(), names(&store))
}

#[test]
fn a_damaged_database_is_set_aside_and_its_backup_takes_over() {
    let garbage = |path: &Path| fs::write(path, vec![0x5a; 8192]).unwrap();
    let cut = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
    let (origin, found) = damaged(garbage, true);
    assert!(matches!(origin, Origin::Backup { .. }), "{origin:?}");
    assert_eq!(found, ["kept"]);
    let (origin, found) = damaged(cut, true);
    assert!(matches!(origin, Origin::Backup { .. }), "{origin:?}");
    assert_eq!(found, ["kept"]);
    let (origin, found) = damaged(garbage, false);
    assert!(matches!(origin, Origin::Lost { .. }), "{origin:?}");
    assert!(found.is_empty());
    let (origin, found) = damaged(|_| {}, true);
    assert_eq!((origin, found.len()), (Origin::Intact, 2));
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).unwrap());
    let path = root.path().join("metadata.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(root.path()).unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
    assert!(path.exists());
}
