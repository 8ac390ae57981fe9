//! Snapshots: the exported suite on both snapshotters, and what happens to half-made ones.

use std::fs;
use std::path::Path;

use oci::mount::Mount;
use store::snapshots::{PrepareOptions, suite};
use store::{Commit, Store};

use crate::{program, text};

/// Mounts in the classic way, shows, unmounts.
fn show(mounts: &[Mount], look: &mut dyn FnMut(&Path)) {
    let point = tempfile::Builder::new().prefix("corten-test-").tempdir().expect("a directory");
    let [mount] = mounts else { panic!("one mount shows a snapshot: {mounts:?}") };
    let options = mount.options.join(",");
    let kind = if mount.kind == "bind" { "none" } else { mount.kind.as_str() };
    program("mount", &["-t", kind, "-o", &options, &mount.source, text(point.path())]);
    // A read-only bind takes effect with a second call only.
    if mount.kind == "bind" && mount.options.iter().any(|option| option == "ro") {
        program("mount", &["-o", "remount,bind,ro", text(point.path())]);
    }
    look(point.path());
    program("umount", &[text(point.path())]);
}

#[test]
fn every_snapshotter_passes_the_suite_twice() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for name in ["overlay", "native"] {
        for prefix in ["first", "second"] {
            suite::run(store.snapshots(name).unwrap(), prefix, &show);
        }
    }
    assert!(store.snapshots("zfs").is_err());
}

#[test]
fn a_chain_of_layers_is_mounted_newest_first_and_volatile_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    let mut parent = None;
    for name in ["a", "b"] {
        overlay.prepare("work", parent, PrepareOptions::default()).unwrap();
        overlay.commit(name, "work").unwrap();
        parent = Some(name);
    }
    let options = PrepareOptions { commit: Commit::Ordered, volatile: true };
    let mounts = overlay.prepare("top", parent, options).unwrap();
    assert_eq!(mounts, overlay.mounts("top").unwrap());
    let options = &mounts[0].options;
    assert!(options.contains(&"volatile".to_owned()), "{options:?}");
    let lower = options.iter().find_map(|option| option.strip_prefix("lowerdir=")).unwrap();
    assert!(lower.ends_with("/1/fs") && lower.contains("/2/fs:"), "{lower}");
}

#[test]
fn directories_without_a_row_are_gone_after_the_next_open() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).unwrap());
    let orphan = root.path().join("snapshots/overlay/77/fs");
    fs::create_dir_all(&orphan).unwrap();
    let store = Store::open(root.path()).unwrap();
    assert!(!orphan.exists());
    let overlay = store.snapshots("overlay").unwrap();
    assert_eq!(overlay.cleanup().unwrap(), 1);
    overlay.prepare("next", None, PrepareOptions::default()).unwrap();
    assert!(overlay.stat("next").unwrap().number > 77, "a number is not used twice");
}

#[test]
fn the_root_of_a_snapshot_looks_like_the_one_below() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    overlay.prepare("work", None, PrepareOptions::default()).unwrap();
    let base = overlay.directories("work").unwrap().upper;
    std::os::unix::fs::chown(&base, Some(33), Some(44)).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o1711)).unwrap();
    overlay.commit("base", "work").unwrap();
    overlay.prepare("top", Some("base"), PrepareOptions::default()).unwrap();
    let data = fs::metadata(overlay.directories("top").unwrap().upper).unwrap();
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777), (33, 44, 0o1711));
}
