//! A store of its own in a temporary folder, with a canary beside it that nothing may touch.

use std::fs;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Error, Images, ImportOptions, Loaded, WorkerCommand};
use oci::digest::Digest;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use store::Store;
use store::snapshots::Kind;
use tempfile::TempDir;

use crate::tree::{self, Node};

/// Checks a property in a sandbox: in `few` cases of the run's seed, or in 600 in a full run.
pub(crate) fn sampled<S: Strategy>(
    name: &str,
    few: u32,
    strategy: &S,
    check: impl Fn(&Sandbox, S::Value) -> Result<(), TestCaseError>,
) {
    let seed: u64 = std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let cases = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 600 } else { few };
    println!("CORTEN_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let sandbox = Sandbox::new();
    TestRunner::new_with_rng(config, random)
        .run(strategy, |value| check(&sandbox, value))
        .unwrap_or_else(|failure| panic!("{failure}"));
    sandbox.check_canary(name);
}

pub(crate) const NAMESPACE: &str = "default";

pub(crate) struct Sandbox {
    pub(crate) images: Images,
    pub(crate) store: Arc<Store>,
    canary: Vec<(PathBuf, Node)>,
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        Sandbox::with_worker(worker_command())
    }

    pub(crate) fn with_worker(worker: WorkerCommand) -> Sandbox {
        let folder = tempfile::Builder::new().prefix("corten-test-image-").tempdir().unwrap();
        let canary = folder.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "canary").unwrap();
        fs::create_dir(canary.join("folder")).unwrap();
        std::os::unix::fs::symlink("file", canary.join("link")).unwrap();
        let canary = tree::with_inodes(&canary);
        let store = Arc::new(Store::open(&folder.path().join("root")).unwrap());
        let images = Images::new(store.clone(), worker, Default::default()).unwrap();
        Sandbox { images, store, canary, folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    /// Fails when anything in the canary has changed in any way.
    pub(crate) fn check_canary(&self, case: &str) {
        assert_eq!(tree::with_inodes(&self.canary()), self.canary, "{case}: the canary was touched");
    }

    /// Bytes as a file to read from.
    pub(crate) fn input(&self, bytes: &[u8]) -> OwnedFd {
        let mut file = tempfile::tempfile_in(self.folder.path()).unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file.into()
    }

    pub(crate) fn import(&self, archive: &[u8]) -> Result<Digest, Error> {
        self.images.import(NAMESPACE, self.input(archive), &ImportOptions::default())
    }

    /// Imports; the files that came of it.
    pub(crate) fn unpacked(&self, archive: &[u8]) -> Result<PathBuf, Error> {
        let id = self.import(archive)?;
        let image = self.images.resolve(NAMESPACE, id.as_str())?;
        let name = self.images.unpack(&image)?;
        Ok(self.store.snapshots("overlay").unwrap().directories(name.as_str()).unwrap().upper)
    }

    pub(crate) fn load(&self, archive: &[u8]) -> Result<Vec<Loaded>, Error> {
        self.images.load(NAMESPACE, self.input(archive), &mut |_| {})
    }

    /// Nothing but what the records hold is in the store: no drafts, no ingests, no blobs, no snapshots.
    pub(crate) fn check_nothing_is_left(&self, case: &str) {
        let layout = self.store.layout();
        let snapshots = self.store.snapshots("overlay").unwrap().list().unwrap();
        let drafts: Vec<_> = snapshots.iter().filter(|info| info.kind != Kind::Committed).collect();
        assert!(drafts.is_empty(), "{case}: {drafts:?}");
        assert_eq!(fs::read_dir(layout.ingest()).unwrap().count(), 0, "{case}: ingests are left");
        if self.images.list(NAMESPACE).unwrap().is_empty() {
            assert_eq!(self.store.content().list().unwrap(), [], "{case}: blobs are left");
            assert_eq!(snapshots, [], "{case}: snapshots are left");
            let directories = fs::read_dir(layout.snapshots("overlay")).unwrap().count();
            assert_eq!(directories, 0, "{case}: directories of snapshots are left");
        }
    }
}

/// The worker, as this crate's example. Cargo builds examples before tests, unless it is told to build one test only.
pub(crate) fn worker_command() -> WorkerCommand {
    WorkerCommand { program: example("worker"), arguments: Vec::new() }
}

pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build -p image --examples`", path.display());
    path
}
