//! Killed at any moment: workers, and the process that loads. What was acknowledged is there, what was not is gone.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use image::{Images, WorkerCommand, WorkerError};
use oci::digest::Digest;
use store::Store;

use crate::confinement::{marked, processes_with, waiting, waits_in_a_pipe};
use crate::sandbox::{NAMESPACE, Sandbox, example, worker_command};
use crate::tarball::{Header, Tarball, docker_archive};

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn archive() -> Vec<u8> {
    let noise: Vec<u8> = (0..400_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let layers: Vec<Vec<u8>> = (0..6u8)
        .map(|n| {
            let files = (0..60).fold(Tarball::new(), |tar, m| tar.file(format!("d{n}/{m}"), "some content"));
            files.add(&Header::new(b'0', format!("noise{n}")), &noise[usize::from(n)..]).finish()
        })
        .collect();
    docker_archive("steel:v1", &layers)
}

#[test]
fn a_killed_worker_is_an_error_and_leaves_nothing() {
    let command = marked("killed");
    let sandbox = Sandbox::with_worker(command.clone());
    let archive = archive();
    for fed in [0, 1000, archive.len() / 2] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            let load = scope.spawn(|| sandbox.images.load(NAMESPACE, OwnedFd::from(reader), &mut |_| {}));
            writer.write_all(&archive[..fed]).unwrap();
            kill(waiting(&command));
            let error = load.join().unwrap().unwrap_err();
            assert!(error.chain().contains("ended without an answer (signal: 9"), "{}", error.chain());
        });
        sandbox.check_nothing_is_left("killed worker");
    }
    sandbox.load(&archive).unwrap();
}

#[test]
fn a_worker_dies_with_the_process_that_it_works_for() {
    let sandbox = Sandbox::new();
    let command = marked("orphan-waits");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new(example("load"))
        .arg(sandbox.path().join("other"))
        .arg(example("worker"))
        .args(&command.arguments)
        .stdin(reader)
        .spawn()
        .unwrap();
    let mark = command.arguments[0].to_str().unwrap().to_owned();
    let worker = loop {
        // The loading process has the same word among its arguments.
        let found = processes_with(&mark).into_iter().find(|pid| *pid != child.id() && waits_in_a_pipe(*pid));
        if let Some(worker) = found {
            break worker;
        }
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    // It waits for input that this test could still write, and is not told to end by anybody.
    while processes_with(&mark).contains(&worker) {
        std::thread::yield_now();
    }
    drop(writer);
}

#[test]
fn a_worker_that_cannot_be_started_or_talks_nonsense_is_an_error() {
    for (program, expected) in
        [("/nonexistent", "cannot be started"), ("/bin/true", "ended without an answer")]
    {
        let sandbox = Sandbox::with_worker(WorkerCommand { program: program.into(), arguments: Vec::new() });
        let error = sandbox.load(&archive()).unwrap_err();
        assert!(error.chain().contains(expected), "{}", error.chain());
        let error = sandbox.import(&Tarball::new().file("f", "x").finish()).unwrap_err();
        assert!(
            matches!(&error, image::Error::Import(WorkerError::Start(_) | WorkerError::Died(_))),
            "{error:?}"
        );
        sandbox.check_nothing_is_left(program);
    }
}

#[test]
fn a_killed_load_leaves_the_image_whole_or_nothing() {
    let sandbox = Sandbox::new();
    let archive = archive();
    let path = sandbox.path().join("archive");
    std::fs::write(&path, &archive).unwrap();
    let root = sandbox.path().join("other");
    let seed: u64 = std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 120 } else { 24 };
    println!("CORTEN_TEST_SEED={seed}");
    let mut random = seed;
    let mut loaded = 0;
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = Command::new(example("load"))
            .arg(&root)
            .arg(example("worker"))
            .stdin(std::fs::File::open(&path).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before the store is open to after the load, on any machine that takes between 10 ms and 1 s for it.
        std::thread::sleep(Duration::from_micros((random >> 33) % (20_000 << (round % 4))));
        let was_done = child.try_wait().unwrap().is_some_and(|status| status.success());
        child.kill().unwrap();
        child.wait().unwrap();
        loaded += usize::from(check_after_kill(&root, was_done));
    }
    println!("{loaded} of {rounds} loads were done before they were killed");
}

/// Whether the image is there; if it is, it must be whole. Empties the store.
fn check_after_kill(root: &Path, was_done: bool) -> bool {
    let store = open_store(root);
    let images = Images::new(store.clone(), worker_command(), Default::default()).unwrap();
    let found = images.list(NAMESPACE).unwrap();
    assert!(!was_done || found.len() == 1, "an acknowledged image is gone");
    for image in &found {
        for layer in &image.layers {
            store.content().verify(&layer.digest).unwrap();
        }
        let chain_id: Digest = images.unpack(image).unwrap();
        let files = store.snapshots("overlay").unwrap().usage(chain_id.as_str()).unwrap();
        assert_eq!(files.inodes, 62, "sixty files, their directory, and the noise");
        images.remove(NAMESPACE, image.id.as_str(), true, &[]).unwrap();
    }
    store.gc().unwrap();
    assert_eq!(store.content().list().unwrap(), []);
    assert_eq!(store.snapshots("overlay").unwrap().list().unwrap(), []);
    assert_eq!(std::fs::read_dir(store.layout().ingest()).unwrap().count(), 0);
    !found.is_empty()
}

/// The lock of a killed process is released when its last descriptor is closed: a little after it was reaped, at most.
fn open_store(root: &Path) -> Arc<Store> {
    loop {
        match Store::open(root) {
            Ok(store) => return Arc::new(store),
            Err(store::Error::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error:?}"),
        }
    }
}
