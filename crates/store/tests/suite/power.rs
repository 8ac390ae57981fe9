//! The power fails. What was acknowledged as durable is there afterwards, and what is there is whole.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use linux::shutdown::{Journal, shutdown};
use oci::descriptor::Descriptor;
use store::edges::Held;
use store::snapshots::{Kind, PrepareOptions};
use store::{Commit, Origin, Store, edges, images, volumes};

use crate::disk::Disk;

/// Loads an image with a layer and makes a kept container on it, until the disk fails; notes what was acknowledged.
fn work(store: &Store, from: usize, acknowledged: &Mutex<Vec<String>>) -> store::Result<()> {
    let overlay = store.snapshots("overlay")?;
    for number in from.. {
        let name = format!("{number:06}");
        let (blob, _pin) = store.content().put(name.repeat(1000).as_bytes())?;
        let (work, layer) = (format!("work-{name}"), format!("layer-{name}"));
        overlay.prepare(&work, None, PrepareOptions::default())?;
        let file = overlay.directories(&work)?.upper.join("file");
        if fs::write(file, &name).is_err() {
            return Ok(());
        }
        overlay.commit(&layer, &work)?;
        if number % 5 == 4 {
            store.sync_layers()?;
        }
        if number % 7 == 6 {
            store.backup()?;
        }
        overlay.prepare(&name, Some(&layer), PrepareOptions::default())?;
        let row = volumes::Volume {
            namespace: "default".into(),
            name: name.clone(),
            labels: store::Labels::new(),
            options: store::Labels::new(),
            created_ns: 1,
        };
        let image = images::Image {
            namespace: "default".into(),
            name: name.clone(),
            target: Descriptor::new("m", blob.digest, blob.size),
            created_ns: 1,
            updated_ns: 1,
            labels: store::Labels::new(),
        };
        store.write(Commit::Durable, move |tx| {
            edges::add(tx, &image.target.digest, Held::Snapshot(&layer))?;
            images::put(tx, &image)?;
            volumes::insert(tx, &row)
        })?;
        acknowledged.lock().unwrap().push(name);
    }
    Ok(())
}

fn check(root: &Path, acknowledged: &[String]) {
    // The kernel was not really started again, and knows only one boot.
    let connection = rusqlite::Connection::open(root.join("metadata.db")).unwrap();
    connection.execute("UPDATE facts SET value = 'the last boot' WHERE name = 'boot'", []).unwrap();
    drop(connection);
    let store = Store::open(root).unwrap();
    assert_eq!(store.recovery().origin, Origin::Intact);
    let overlay = store.snapshots("overlay").unwrap();
    for name in acknowledged {
        let row = store.read(|tx| volumes::get(tx, "default", name)).unwrap();
        assert!(row.is_some(), "{name} was acknowledged");
        let info = overlay.stat(name).unwrap_or_else(|error| panic!("the container {name}: {error}"));
        assert_eq!(info.kind, Kind::Active);
        assert!(overlay.directories(name).map_or(true, |found| found.upper.is_dir()));
    }
    for image in store.read(|tx| images::list(tx, "default")).unwrap() {
        store
            .content()
            .verify(&image.target.digest)
            .unwrap_or_else(|error| panic!("{}: {error}", image.name));
    }
    for info in overlay.list().unwrap().iter().filter(|info| info.kind == Kind::Committed) {
        assert!(info.synced, "{} cannot be trusted", info.name);
        let file = overlay.directories(&info.name).unwrap().upper.join("file");
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(Some(text.as_str()), info.name.strip_prefix("layer-"), "what is there is whole");
    }
    assert_eq!(fs::read_dir(root.join("content/ingest")).unwrap().count(), 0);
}

/// The environment variable that makes the test executable the machine whose power fails.
const MACHINE: &str = "CORTEN_TEST_POWER_FAILS";

#[test]
fn what_was_acknowledged_survives_a_power_failure_and_what_is_there_is_whole() {
    // With mounts of its own: see `Disk::mount_again`.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["power::machine", "--exact", "--nocapture"])
        .env(MACHINE, "1")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Not a test of its own: works, loses its power, looks at what is there.
#[test]
fn machine() {
    if std::env::var(MACHINE).is_err() {
        return;
    }
    let disk = Disk::ext4(&[]);
    let root = disk.path().join("root");
    let is_full = std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1");
    let rounds: usize = if is_full { 300 } else { 16 };
    for round in 0..rounds {
        let journal = if round.is_multiple_of(2) { Journal::Lost } else { Journal::Flushed };
        let lifetime = Duration::from_millis(u64::try_from(3 + round * 13 % 90).unwrap());
        let acknowledged = work_until_the_power_fails(&disk, round * 1000, lifetime, journal);
        disk.mount_again();
        println!("round {round}: {} acknowledged", acknowledged.len());
        check(&root, &acknowledged);
        make_room(&root).unwrap();
    }
}

/// What was acknowledged before the power failed. An fsync that is under way at that moment may return success although
/// nothing was written (a plain file shows the same, in three of a hundred times): nobody would be left to hear of it.
fn work_until_the_power_fails(disk: &Disk, from: usize, lifetime: Duration, journal: Journal) -> Vec<String> {
    let acknowledged = Mutex::new(Vec::new());
    let store = Store::open(&disk.path().join("root")).unwrap();
    let mountpoint = File::open(disk.path()).unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&store, from, &acknowledged));
        std::thread::sleep(lifetime);
        let before = acknowledged.lock().unwrap().clone();
        shutdown(&mountpoint, journal).unwrap();
        // It ends because everything fails.
        drop(worker.join().unwrap());
        before
    })
}

fn make_room(root: &Path) -> store::Result<()> {
    let store = Store::open(root)?;
    store.write(Commit::Durable, |tx| {
        for image in images::list(tx, "default")? {
            images::delete(tx, "default", &image.name)?;
            volumes::delete(tx, "default", &image.name)?;
        }
        Ok(())
    })?;
    let overlay = store.snapshots("overlay")?;
    for info in overlay.list()?.iter().filter(|info| info.kind == Kind::Active) {
        overlay.remove(&info.name)?;
    }
    store.gc().map(drop)
}
