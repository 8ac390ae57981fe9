//! The database: batches, classes of commit, damage.

use std::fs;
use std::path::{Path, PathBuf};
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
fn a_write_inside_of_a_write_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(root.path()).unwrap());
    let inner = Arc::clone(&store);
    let told = store.write(Commit::Ordered, move |_| inner.write(Commit::Ordered, |_| Ok(())));
    assert!(matches!(told, Err(Error::WriteInWrite)), "{told:?}");
    store.write(Commit::Ordered, |_| Ok(())).unwrap();
}

#[test]
fn a_second_process_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let _store = Store::open(root.path()).unwrap();
    let error = Store::open(root.path()).unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
}

/// Makes a database with the row `kept`, a backup of it if wanted, and the row `newer`.
fn filled(root: &Path, with_backup: bool) -> PathBuf {
    let store = Store::open(root).unwrap();
    insert(&store, "kept").unwrap();
    if with_backup {
        store.backup().unwrap();
    }
    insert(&store, "newer").unwrap();
    root.join("metadata.db")
}

/// Opens after the damage; it must always open.
fn damaged(harm: impl Fn(&Path), with_backup: bool) -> (Origin, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    harm(&filled(root.path(), with_backup));
    let store = Store::open(root.path()).unwrap();
    (store.recovery().origin.clone(), names(&store))
}

#[test]
fn a_damaged_database_is_set_aside_and_its_backup_takes_over() {
    let garbage = |path: &Path| fs::write(path, vec![0x5a; 8192]).unwrap();
    let cut = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
    let cut_to_nothing = |path: &Path| fs::write(path, b"").unwrap();
    let cut_in_the_middle = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    };
    for harm in [&garbage as &dyn Fn(&Path), &cut, &cut_to_nothing, &cut_in_the_middle] {
        let (origin, found) = damaged(harm, true);
        let Origin::Backup { damaged: aside } = &origin else { panic!("{origin:?}") };
        assert!(aside.to_string_lossy().contains("metadata.db.damaged-"));
        assert_eq!(found, ["kept"]);
        let (origin, found) = damaged(harm, false);
        assert!(matches!(origin, Origin::Lost { .. }), "{origin:?}");
        assert!(found.is_empty());
    }
    let (origin, found) = damaged(|_| {}, true);
    assert_eq!((origin, found.len()), (Origin::Intact, 2));
}

#[test]
fn what_was_set_aside_is_what_was_there() {
    let root = tempfile::tempdir().unwrap();
    fs::write(filled(root.path(), true), b"no database").unwrap();
    let store = Store::open(root.path()).unwrap();
    let Origin::Backup { damaged } = store.recovery().origin.clone() else { panic!("it is damaged") };
    assert_eq!(fs::read(&damaged).unwrap(), b"no database");
}

#[test]
fn a_database_that_is_gone_comes_back_from_its_backup() {
    let (origin, found) = damaged(|path| fs::remove_file(path).unwrap(), true);
    assert!(matches!(origin, Origin::Backup { .. }), "{origin:?}");
    assert_eq!(found, ["kept"]);
}

#[test]
fn a_damaged_backup_is_not_used() {
    let harm = |path: &Path| {
        fs::write(path, b"damaged").unwrap();
        fs::write(path.with_file_name("metadata.db.bak"), b"damaged too").unwrap();
    };
    let (origin, found) = damaged(harm, true);
    assert!(matches!(origin, Origin::Lost { .. }), "{origin:?}");
    assert!(found.is_empty());
}

#[test]
fn a_database_that_cannot_be_opened_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = filled(root.path(), true);
    let elsewhere = root.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    // As good as a failing disk: it exists, and opening it is an error.
    fs::create_dir(&path).unwrap();
    assert_eq!(Store::open(root.path()).unwrap_err().code(), Code::Internal);
    fs::remove_dir(&path).unwrap();
    fs::rename(&elsewhere, &path).unwrap();
    let store = Store::open(root.path()).unwrap();
    assert_eq!((store.recovery().origin.clone(), names(&store).len()), (Origin::Intact, 2));
}

#[test]
fn one_damaged_row_is_removed_and_told_and_all_others_stay() {
    let root = tempfile::tempdir().unwrap();
    let path = filled(root.path(), true);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let harm = "UPDATE containers SET spec = CAST(x'ff' AS TEXT) WHERE name = 'kept'";
    connection.execute(harm, []).unwrap();
    connection.execute("INSERT INTO volumes VALUES ('default', 'v', '{', '{}', 1)", []).unwrap();
    drop(connection);
    let store = Store::open(root.path()).unwrap();
    assert_eq!(names(&store), ["newer"]);
    assert!(store.read(|tx| volumes::list(tx, "default")).unwrap().is_empty());
    let recovery = store.recovery();
    assert_eq!((recovery.origin.clone(), recovery.damaged_rows.len()), (Origin::Intact, 2), "{recovery:?}");
    assert!(recovery.damaged_rows[1].starts_with("volumes: "), "{recovery:?}");
}

/// Changes the schema itself, which SQLite allows who asks for it.
fn rewrite_schema(path: &Path, change: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&format!("PRAGMA writable_schema = ON; {change}")).unwrap();
}

#[test]
fn a_damaged_table_definition_is_damage() {
    for change in [
        "sql = replace(sql, 'labels', 'labelz')",
        "sql = CAST(CAST(sql AS BLOB) || x'ff' AS TEXT)",
        "name = CAST(name AS BLOB)",
    ] {
        let change = format!("UPDATE sqlite_master SET {change} WHERE name = 'images'");
        let (origin, found) = damaged(|path| rewrite_schema(path, &change), true);
        assert!(matches!(origin, Origin::Backup { .. }), "{origin:?}");
        assert_eq!(found, ["kept"]);
    }
}

#[test]
fn an_index_that_disagrees_with_its_table_is_built_again() {
    let harm = |path: &Path| {
        let index = "name = 'snapshots_by_parent'";
        rewrite_schema(path, &format!("CREATE TABLE aside AS SELECT * FROM sqlite_master WHERE {index}"));
        rewrite_schema(path, &format!("DELETE FROM sqlite_master WHERE {index}"));
        // Nothing keeps the index up to date now.
        let row = "INSERT INTO snapshots VALUES ('native', 'unindexed', 7, 'above', 'active', 0, 0, 1, '{}')";
        rewrite_schema(path, row);
        rewrite_schema(path, "INSERT INTO sqlite_master SELECT * FROM aside");
        rewrite_schema(path, "DROP TABLE aside");
        let connection = rusqlite::Connection::open(path).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert!(verdict.contains("snapshots_by_parent"), "{verdict}");
    };
    let (origin, found) = damaged(harm, true);
    assert_eq!(origin, Origin::Intact);
    assert_eq!(found, ["kept", "newer"], "nothing newer than the backup is lost");
}

/// A small generator: the same seed, the same damage.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn it_opens_and_works_after_any_damage_to_any_byte() {
    let root = tempfile::tempdir().unwrap();
    let path = filled(root.path(), true);
    {
        let store = Store::open(root.path()).unwrap();
        for number in 0..40 {
            insert(&store, &format!("more-{number}")).unwrap();
            store
                .snapshots("overlay")
                .unwrap()
                .prepare(&number.to_string(), None, Default::default())
                .unwrap();
        }
    }
    let good = fs::read(&path).unwrap();
    let seed = std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let rounds = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 2000 } else { 120 };
    // Free pages are most of the file and hold nothing.
    let used = 4096 * 40;
    for round in 0..rounds {
        let mut bytes = good.clone();
        let at = random.below(used.min(bytes.len()));
        match round % 4 {
            0 => bytes[at / 4096 * 4096..][..4096].fill(0),
            1 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << random.below(8),
        }
        fs::write(&path, bytes).unwrap();
        let store =
            Store::open(root.path()).unwrap_or_else(|error| panic!("{seed}: {round} at {at}: {error:?}"));
        let why = |what: &str| format!("{seed}: {round} at {at}: {what}");
        store
            .read(|tx| containers::list(tx, "default"))
            .unwrap_or_else(|error| panic!("{}: {error:?}", why("list")));
        insert(&store, "after").unwrap_or_else(|error| panic!("{}: {error:?}", why("insert")));
        let key = format!("after-{round}");
        store.snapshots("overlay").unwrap().prepare(&key, None, Default::default()).unwrap();
        store.gc().unwrap_or_else(|error| panic!("{}: {error:?}", why("gc")));
        drop(store);
        for entry in fs::read_dir(root.path()).unwrap() {
            let entry = entry.unwrap().path();
            if entry.to_string_lossy().contains("damaged") {
                fs::remove_file(entry).unwrap();
            }
        }
    }
}

#[test]
fn a_damaged_write_ahead_log_loses_no_more_than_its_end() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for number in 0..20 {
        insert(&store, &format!("{number:02}")).unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    // A copy of a database that is in use is what a power failure leaves.
    for name in ["metadata.db", "metadata.db-wal"] {
        fs::copy(root.path().join(name), copy.path().join(name)).unwrap();
    }
    let wal = copy.path().join("metadata.db-wal");
    let mut bytes = fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&wal, bytes).unwrap();
    let found = names(&Store::open(copy.path()).unwrap());
    let expected: Vec<String> = (0..found.len()).map(|number| format!("{number:02}")).collect();
    assert_eq!(found, expected, "the commits before the damage, in order, and nothing behind it");
}

#[test]
fn readers_see_whole_commits_and_what_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(root.path()).unwrap());
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for number in 0..30 {
                    let rows = [
                        container(&format!("{writer}-{number}-a")),
                        container(&format!("{writer}-{number}-b")),
                    ];
                    let commit = if number % 2 == 0 { Commit::Ordered } else { Commit::Durable };
                    store
                        .write(commit, move |tx| rows.iter().try_for_each(|row| containers::insert(tx, row)))
                        .unwrap();
                    let name = format!("{writer}-{number}-b");
                    assert!(store.read(|tx| containers::by_name(tx, "default", &name)).unwrap().is_some());
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut before = 0;
                while before < 8 * 30 * 2 {
                    let now = names(&store).len();
                    assert!(now >= before && now.is_multiple_of(2), "{before} then {now}");
                    before = now;
                }
            })
        })
        .collect();
    for thread in writers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
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
