//! A process that is killed while it writes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use store::snapshots::{Kind, PrepareOptions};
use store::space::ingests::{Announced, Finished, Writer};
use store::space::snapshots::{Creation, Snapshots};
use store::{Commit, Origin, Store, images, volumes};

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
        one_of_everything(&store, number).unwrap();
        println!("acknowledged {number:06}");
    }
}

/// Makes and removes one of everything; a row with that number is its last write.
fn one_of_everything(store: &Store, number: usize) -> store::Result<()> {
    let name = format!("{number:06}");
    let commit = if number.is_multiple_of(2) { Commit::Durable } else { Commit::Ordered };
    let overlay = store.snapshots("overlay")?;
    overlay.prepare(&name, None, PrepareOptions { commit, volatile: false })?;
    // A layer that nothing holds, for the collection, and one that goes at once.
    for work in ["layer", "gone"] {
        let key = format!("{work}-work-{name}");
        overlay.prepare(&key, None, PrepareOptions::default())?;
        overlay.commit(&format!("{work}-{name}"), &key)?;
    }
    overlay.remove(&format!("gone-{name}"))?;
    for snapshotter in ["overlayfs", "native"] {
        clients_snapshots(&store.space("one").snapshots(snapshotter)?, &name)?;
    }
    let (blob, _pin) = store.content().put(name.as_bytes())?;
    let image = images::Image {
        namespace: "default".into(),
        name: name.clone(),
        target: Descriptor::new("m", blob.digest.clone(), blob.size),
        created_ns: 1,
        updated_ns: 1,
        labels: store::Labels::new(),
    };
    drop(store.content().put(format!("garbage {name}").as_bytes())?);
    store.write(commit, move |tx| {
        images::put(tx, &image)?;
        volumes::insert(tx, &volume(name))
    })?;
    if number % 4 == 3 {
        store.sync_layers()?;
        store.gc()?;
        store.backup()?;
    }
    Ok(())
}

/// What a client makes: a layer, a container's own layer on it, one that goes again.
fn clients_snapshots(snapshots: &Snapshots<'_>, name: &str) -> store::Result<()> {
    let layer = format!("layer-{name}");
    for (name, work) in [(layer.as_str(), "work"), ("gone", "work")] {
        let mounts = snapshots.prepare(work, Creation::default())?;
        fs::write(Path::new(&mounts[0].source).join("file"), name).unwrap();
        snapshots.commit(name, work, Creation::default())?;
    }
    let labels = store::Labels::from([("containerd.io/gc.root".to_owned(), "yes".to_owned())]);
    snapshots.prepare(name, Creation { parent: Some(&layer), labels, lease: None })?;
    snapshots.remove("gone", None)
}

/// Rows and directories of clients agree, and nothing is half made; removes what is there.
fn check_clients_snapshots(store: &Store, last: &str) {
    for (snapshotter, machine) in [("overlayfs", "overlay"), ("native", "native")] {
        let snapshots = store.space("one").snapshots(snapshotter).unwrap();
        let infos = snapshots.list().unwrap();
        assert!(infos.iter().any(|info| info.key == last), "{last} was acknowledged");
        let backends = store.snapshots(machine).unwrap().list().unwrap();
        let own = backends.iter().filter(|info| info.name.starts_with("one/"));
        assert_eq!(own.count(), infos.len(), "each has its row");
        let (layers, above): (Vec<_>, Vec<_>) =
            infos.into_iter().partition(|info| info.kind == Kind::Committed);
        for info in above {
            assert!(snapshots.mounts(&info.key).is_ok(), "{info:?}");
            snapshots.remove(&info.key, None).unwrap();
        }
        for info in layers {
            let upper =
                store.snapshots(machine).unwrap().directories(&format!("one/{}", info.key)).unwrap().upper;
            assert_eq!(fs::read_to_string(upper.join("file")).unwrap(), info.key);
            assert_eq!(info.parent, None);
            snapshots.remove(&info.key, None).unwrap();
        }
    }
}

/// What must be true of a store that was just opened after a kill, of which `last` was acknowledged.
fn check(store: &Store, root: &Path, last: &str) {
    assert_eq!(store.recovery().origin, Origin::Intact);
    assert!(store.recovery().lost_snapshots.is_empty(), "{:?}", store.recovery());
    let volumes = store.read(|tx| volumes::list(tx, "default")).unwrap();
    let names: Vec<String> = volumes.into_iter().map(|row| row.name).collect();
    assert!(names.iter().any(|name| name == last), "{last} was acknowledged");
    let overlay = store.snapshots("overlay").unwrap();
    for name in &names {
        assert!(overlay.directories(name).unwrap().upper.is_dir(), "{name} is whole");
        let image = store.read(|tx| images::get(tx, "default", name)).unwrap().expect("both rows or none");
        store.content().verify(&image.target.digest).unwrap();
    }
    check_clients_snapshots(store, last);
    for extra in overlay.list().unwrap() {
        assert!(overlay.directories(&extra.name).unwrap().upper.is_dir());
        if extra.kind == Kind::Active && !names.contains(&extra.name) {
            overlay.remove(&extra.name).unwrap();
        }
    }
    store.gc().unwrap();
    assert_eq!(fs::read_dir(root.join("snapshots/native")).unwrap().count(), 0);
    let directories = fs::read_dir(root.join("snapshots/overlay")).unwrap().count();
    let rows = overlay.list().unwrap().len();
    assert_eq!(
        (directories, rows),
        (names.len(), names.len()),
        "no directory without a row, no layer unheld"
    );
    assert_eq!(store.content().list().unwrap().len(), names.len());
    assert_eq!(fs::read_dir(root.join("content/ingest")).unwrap().count(), 0);
    let leftovers = fs::read_dir(root).unwrap().flatten().map(|entry| entry.file_name());
    assert!(leftovers.into_iter().all(|name| name != "metadata.db.bak.new" && name != "metadata.db.new"));
}

/// Starts one of the victims.
fn spawn(name: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(VICTIM, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_half_made_stays() {
    let root = tempfile::tempdir().unwrap();
    let rounds = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 200 } else { 12 };
    for round in 0..rounds {
        let mut child = spawn("kill::victim", root.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = String::new();
        for _ in 0..=round % 9 {
            let next = lines.by_ref().map(Result::unwrap).find(|line| line.contains("acknowledged"));
            last = next.expect("the victim writes until it is killed");
        }
        // Somewhere in the next number, at another place in each round.
        std::thread::sleep(Duration::from_micros(u64::try_from(round).unwrap() * 397 % 6000));
        child.kill().unwrap();
        child.wait().unwrap();
        let (_, last) = last.split_once("acknowledged ").unwrap();
        check(&Store::open(root.path()).unwrap(), root.path(), last);
    }
}

/// What the uploader writes: as many bytes, and others, for each number.
fn upload(number: usize) -> Vec<u8> {
    (0..20_000).flat_map(|at: usize| (at * 31 + number).to_be_bytes()).collect()
}

/// The upload of that number, begun or gone on with.
fn open_upload(store: &Store, number: usize) -> store::Result<Writer> {
    let reference = format!("upload {number}");
    store.space("a").ingests().open(Announced { reference: &reference, ..Announced::default() })
}

/// How many uploads are whole.
fn uploaded(store: &Store) -> usize {
    let (mut last, mut count) = (None, 0);
    while let page = store.space("a").content().page(last.as_ref()).unwrap()
        && let Some(info) = page.last()
    {
        count += page.len();
        last = Some(info.digest.clone());
    }
    count
}

/// Not a test of its own: writes and commits one upload after the other until it is killed, and prints what was acknowledged.
#[test]
fn uploader() {
    let Ok(root) = std::env::var(VICTIM) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    for number in uploaded(&store).. {
        let bytes = upload(number);
        let mut writer = open_upload(&store, number).unwrap();
        while let offset = usize::try_from(writer.status().offset).unwrap()
            && offset < bytes.len()
        {
            writer.write(&bytes[offset..bytes.len().min(offset + 30_011)]).unwrap();
            println!("acknowledged {number} {}", writer.status().offset);
        }
        // A collection takes what nothing holds.
        let labels = store::Labels::from([("containerd.io/gc.root".into(), "now".into())]);
        store.space("a").ingests().commit(writer, Finished { labels, ..Finished::default() }).unwrap();
        println!("acknowledged {number} committed");
    }
}

#[test]
fn what_was_acknowledged_of_an_upload_survives_a_kill_and_it_goes_on_there() {
    let root = tempfile::tempdir().unwrap();
    let rounds = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 300 } else { 20 };
    for round in 0..rounds {
        let mut child = spawn("kill::uploader", root.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut told: Vec<String> = Vec::new();
        while told.len() <= round % 13 {
            let line = lines.next().expect("the uploader writes until it is killed");
            told.extend(line.split_once("acknowledged ").map(|(_, told)| told.to_owned()));
        }
        std::thread::sleep(Duration::from_micros(u64::try_from(round).unwrap() * 397 % 6000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said after that counts as well, but the line that it was writing.
        told.extend(
            lines.filter_map(|line| line.split_once("acknowledged ").map(|(_, told)| told.to_owned())),
        );
        let store = Store::open(root.path()).unwrap();
        store.gc().unwrap();
        for line in &told {
            check_upload(&store, line);
        }
        drop(store);
        let connection = rusqlite::Connection::open(root.path().join("metadata.db")).unwrap();
        let sql = "SELECT count(*) FROM space_ingests";
        let rows: usize = connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
        let directories = fs::read_dir(root.path().join("content/uploads")).unwrap().count();
        assert!(directories <= rows && rows <= 1, "{directories} directories, {rows} rows");
    }
}

/// What must be true of what an uploader was told.
fn check_upload(store: &Store, told: &str) {
    let Some((number, what)) = told.split_once(' ') else { return };
    let bytes = upload(number.parse().unwrap());
    let digest = Digest::of(&bytes);
    if store.space("a").content().has(&digest).unwrap() {
        return store.content().verify(&digest).unwrap();
    }
    // A line that was cut is a smaller number, or none.
    let acknowledged: u64 = match what.parse() {
        Ok(offset) => offset,
        Err(_) if what == "committed" => panic!("{told}: it is not there"),
        Err(_) => 0,
    };
    let writer = open_upload(store, number.parse().unwrap()).unwrap();
    let offset = writer.status().offset;
    assert!(offset >= acknowledged, "{told}: there are {offset} bytes");
    assert_eq!(writer.digest(), Digest::of(&bytes[..usize::try_from(offset).unwrap()]), "{told}");
}
