//! A process that is killed while it writes, and a disk that is full.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use store::snapshots::PrepareOptions;
use store::{Commit, Store, volumes};

use crate::{program, text};

/// The environment variable that makes the test executable the process to be killed.
const VICTIM: &str = "CORTEN_TEST_VICTIM_ROOT";

fn volume(name: String) -> volumes::Volume {
    volumes::Volume {
        namespace: "default".into(),
        name,
        labels: store::Labels::new(),
        options: store::Labels::new(),
        created_ns: 1,
    }
}

/// Not a test of its own: writes until it is killed, and prints what was acknowledged.
#[test]
fn victim() {
    let Ok(root) = std::env::var(VICTIM) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let begin = store.read(|tx| volumes::list(tx, "default")).unwrap().len();
    for number in begin.. {
        let name = format!("{number:06}");
        let commit = if number % 2 == 0 { Commit::Durable } else { Commit::Ordered };
        let overlay = store.snapshots("overlay").unwrap();
        overlay.prepare(&name, None, PrepareOptions { commit, volatile: false }).unwrap();
        let (_blob, _pin) = store.content().put(name.as_bytes()).unwrap();
        let row = volume(name.clone());
        store.write(commit, move |tx| volumes::insert(tx, &row)).unwrap();
        println!("acknowledged {name}");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_half_made_stays() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::victim", "--exact", "--nocapture"])
            .env(VICTIM, root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = String::new();
        for _ in 0..(20 + round * 7) {
            last = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("acknowledged")).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(root.path()).unwrap();
        let names: Vec<String> =
            store.read(|tx| volumes::list(tx, "default")).unwrap().into_iter().map(|row| row.name).collect();
        let last = last.trim_start_matches("acknowledged ").to_owned();
        assert!(names.contains(&last), "{last} was acknowledged");
        let overlay = store.snapshots("overlay").unwrap();
        for name in &names {
            assert!(overlay.directories(name).unwrap().upper.is_dir(), "{name} is whole");
        }
        overlay.cleanup().unwrap();
        let directories = fs::read_dir(root.path().join("snapshots/overlay")).unwrap().count();
        assert_eq!(directories, overlay.list().unwrap().len(), "no directory without a row");
        for extra in overlay.list().unwrap().iter().filter(|info| !names.contains(&info.name)) {
            overlay.remove(&extra.name).unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("content/ingest")).unwrap().count(), 0);
    }
}

#[test]
fn on_a_full_disk_writing_fails_cleanly_and_deleting_works() {
    let folder = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
    let disk = text(folder.path()).to_owned();
    program("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", &disk]);
    {
        let store = Store::open(&folder.path().join("root")).unwrap();
        let overlay = store.snapshots("overlay").unwrap();
        for number in 0..50 {
            let name = number.to_string();
            overlay.prepare(&name, None, PrepareOptions::default()).unwrap();
            let row = volume(name);
            store.write(Commit::Durable, move |tx| volumes::insert(tx, &row)).unwrap();
        }
        let filler = folder.path().join("filler");
        // It ends because the disk is full.
        drop(
            Command::new("dd")
                .args(["if=/dev/zero", "bs=4k", "status=none"])
                .arg(format!("of={}", text(&filler)))
                .stderr(Stdio::null())
                .status(),
        );
        let error = store.content().put(&[7; 100_000]).unwrap_err();
        assert_eq!(error.code(), api::code::Code::ResourceExhausted, "{error}");
        assert_eq!(fs::read_dir(folder.path().join("root/content/ingest")).unwrap().count(), 0);
        for number in 0..50 {
            let name = number.to_string();
            overlay.remove(&name).unwrap();
            store.write(Commit::Durable, move |tx| volumes::delete(tx, "default", &name)).unwrap();
        }
        store.gc().unwrap();
        assert!(overlay.list().unwrap().is_empty());
    }
    program("umount", &[&disk]);
}
