//! Snapshots: the exported suite on both snapshotters, and what happens to half-made ones.

use std::fs;
use std::path::Path;

use oci::mount::Mount;
use store::snapshots::{PrepareOptions, suite};
use store::{Commit, Store};

use crate::{program, text};

/// Mounts in the classic way, shows, unmounts.
pub(crate) fn show(mounts: &[Mount], look: &mut dyn FnMut(&Path)) {
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

#[test]
fn a_number_is_never_used_twice_also_not_by_another_process() {
    let root = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let store = Store::open(root.path()).unwrap();
        let overlay = store.snapshots("overlay").unwrap();
        overlay.prepare("only", None, PrepareOptions::default()).unwrap();
        assert!(seen.insert(overlay.stat("only").unwrap().number), "{seen:?}");
        overlay.remove("only").unwrap();
        overlay.cleanup().unwrap();
    }
}

#[test]
fn directories_that_a_damaged_database_knew_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    overlay.prepare("known", None, PrepareOptions::default()).unwrap();
    overlay.prepare("removed later", None, PrepareOptions::default()).unwrap();
    store.backup().unwrap();
    overlay.prepare("newer", None, PrepareOptions::default()).unwrap();
    let newer = overlay.directories("newer").unwrap().upper;
    fs::write(newer.join("data"), "precious").unwrap();
    overlay.remove("removed later").unwrap();
    overlay.cleanup().unwrap();
    let number = overlay.stat("newer").unwrap().number;
    drop(store);
    fs::write(root.path().join("metadata.db"), "damaged").unwrap();
    for _ in 0..2 {
        let store = Store::open(root.path()).unwrap();
        let overlay = store.snapshots("overlay").unwrap();
        let names: Vec<String> = overlay.list().unwrap().into_iter().map(|info| info.name).collect();
        assert_eq!(names, ["known"], "its row came back; the other row has no directory any more");
        overlay.cleanup().unwrap();
        store.gc().unwrap();
        let kept = root.path().join(format!("snapshots/overlay/lost-{number}/fs/data"));
        assert_eq!(fs::read_to_string(kept).unwrap(), "precious");
        overlay.prepare("next", None, PrepareOptions::default()).unwrap();
        assert!(overlay.stat("next").unwrap().number > number);
        overlay.remove("next").unwrap();
    }
}

#[test]
fn what_a_power_failure_took_is_made_again_or_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for name in ["overlay", "native"] {
        let snapshots = store.snapshots(name).unwrap();
        for layer in ["base", "gone"] {
            snapshots.prepare("work", None, PrepareOptions::default()).unwrap();
            let upper = snapshots.directories("work").unwrap().upper;
            fs::set_permissions(&upper, fs::Permissions::from_mode(0o1711)).unwrap();
            fs::write(upper.join("file"), layer).unwrap();
            snapshots.commit(layer, "work").unwrap();
        }
        snapshots.prepare("active", Some("base"), PrepareOptions::default()).unwrap();
        snapshots.prepare("half", Some("base"), PrepareOptions::default()).unwrap();
        for lost in ["gone", "active"] {
            let upper = snapshots.directories(lost).unwrap().upper;
            fs::remove_dir_all(upper.parent().unwrap()).unwrap();
        }
        fs::remove_dir_all(snapshots.directories("half").unwrap().upper).unwrap();
    }
    let numbers: Vec<i64> = ["overlay", "native"]
        .map(|name| store.snapshots(name).unwrap().stat("active").unwrap().number)
        .into();
    drop(store);
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.recovery().lost_snapshots, ["gone", "gone"]);
    for (name, number) in ["overlay", "native"].into_iter().zip(numbers) {
        let snapshots = store.snapshots(name).unwrap();
        assert_eq!(snapshots.stat("active").unwrap().number, number);
        for key in ["active", "half"] {
            let upper = snapshots.directories(key).unwrap().upper;
            assert_eq!(fs::metadata(&upper).unwrap().permissions().mode() & 0o7777, 0o1711);
            assert_eq!(upper.join("file").exists(), name == "native", "a copy is made again");
            show(&snapshots.mounts(key).unwrap(), &mut |root| {
                assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "base");
                fs::write(root.join("new"), "").unwrap();
            });
        }
    }
}

#[test]
fn what_a_damaged_database_lost_comes_back_with_a_repaired_one() {
    let root = tempfile::tempdir().unwrap();
    let (path, aside) = (root.path().join("metadata.db"), root.path().join("repaired"));
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    overlay.prepare("key", None, PrepareOptions::default()).unwrap();
    fs::write(overlay.directories("key").unwrap().upper.join("data"), "precious").unwrap();
    drop(store);
    fs::rename(&path, &aside).unwrap();
    fs::write(&path, "damaged").unwrap();
    drop(Store::open(root.path()).unwrap());
    fs::rename(&aside, &path).unwrap();
    let store = Store::open(root.path()).unwrap();
    let upper = store.snapshots("overlay").unwrap().directories("key").unwrap().upper;
    assert_eq!(fs::read_to_string(upper.join("data")).unwrap(), "precious");
}

/// Makes the store believe that the machine was started again since it was last open.
pub(crate) fn reboot(root: &Path) {
    let connection = rusqlite::Connection::open(root.join("metadata.db")).unwrap();
    connection.execute("UPDATE facts SET value = 'the last boot' WHERE name = 'boot'", []).unwrap();
}

#[test]
fn layers_that_were_not_synced_are_dropped_after_a_reboot_and_come_back_when_unpacked_again() {
    let root = tempfile::tempdir().unwrap();
    let layer = |store: &Store, name: &str, parent: Option<&str>| {
        let overlay = store.snapshots("overlay").unwrap();
        overlay.prepare("work", parent, PrepareOptions::default()).unwrap();
        overlay.commit(name, "work").unwrap();
    };
    {
        let store = Store::open(root.path()).unwrap();
        layer(&store, "synced", None);
        store.sync_layers().unwrap();
        layer(&store, "fresh", Some("synced"));
        let overlay = store.snapshots("overlay").unwrap();
        overlay.prepare("container", Some("fresh"), PrepareOptions::default()).unwrap();
    }
    {
        let store = Store::open(root.path()).unwrap();
        let recovery = store.recovery();
        assert!(recovery.dropped_layers.is_empty(), "a restart of the process loses nothing: {recovery:?}");
        assert!(store.snapshots("overlay").unwrap().mounts("container").is_ok());
    }
    reboot(root.path());
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.recovery().dropped_layers, ["fresh"]);
    let overlay = store.snapshots("overlay").unwrap();
    assert!(overlay.stat("synced").unwrap().synced);
    let error = overlay.mounts("container").unwrap_err();
    assert!(error.to_string().contains("`fresh`"), "it says what is missing: {error}");
    layer(&store, "fresh", Some("synced"));
    assert!(overlay.mounts("container").is_ok(), "the same layer is below it again");
    drop(store);
    assert!(Store::open(root.path()).unwrap().recovery().dropped_layers.is_empty(), "once for each boot");
}

#[test]
fn syncing_trusts_what_was_synced_and_not_what_came_after_under_the_same_name() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let overlay = store.snapshots("overlay").unwrap();
    for _ in 0..2 {
        overlay.prepare("work", None, PrepareOptions::default()).unwrap();
        overlay.commit("layer", "work").unwrap();
        assert!(!overlay.stat("layer").unwrap().synced);
        store.sync_layers().unwrap();
        assert!(overlay.stat("layer").unwrap().synced);
        overlay.remove("layer").unwrap();
    }
}

#[test]
fn a_native_snapshot_is_a_faithful_copy() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let native = store.snapshots("native").unwrap();
    native.prepare("work", None, PrepareOptions::default()).unwrap();
    let from = native.directories("work").unwrap().upper;
    fs::create_dir_all(from.join("folder/inner")).unwrap();
    fs::write(from.join("folder/file"), "bytes").unwrap();
    fs::hard_link(from.join("folder/file"), from.join("linked")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", from.join("symbolic")).unwrap();
    std::os::unix::fs::lchown(from.join("symbolic"), Some(7), Some(8)).unwrap();
    let sparse = fs::File::create(from.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 1 << 30).unwrap();
    sparse.set_len((1 << 30) + 8192).unwrap();
    program("mknod", &[text(&from.join("device")), "c", "1", "3"]);
    program("mkfifo", &[text(&from.join("fifo"))]);
    std::os::unix::fs::chown(from.join("folder/file"), Some(5), Some(6)).unwrap();
    fs::set_permissions(from.join("folder/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    rustix::fs::setxattr(from.join("folder/file"), "user.test", b"value", rustix::fs::XattrFlags::empty())
        .unwrap();
    program(
        "touch",
        &["-d", "2001-02-03 04:05:06.789", text(&from.join("folder/inner")), text(&from.join("folder"))],
    );
    native.commit("base", "work").unwrap();
    native.prepare("copy", Some("base"), PrepareOptions::default()).unwrap();
    let to = native.directories("copy").unwrap().upper;
    for name in
        ["folder", "folder/inner", "folder/file", "linked", "symbolic", "sparse", "device", "fifo", ""]
    {
        let (a, b) =
            (fs::symlink_metadata(from.join(name)).unwrap(), fs::symlink_metadata(to.join(name)).unwrap());
        let what = |data: &fs::Metadata| {
            (
                data.mode(),
                data.uid(),
                data.gid(),
                data.size(),
                data.rdev(),
                data.nlink(),
                data.mtime(),
                data.mtime_nsec(),
            )
        };
        assert_eq!(what(&a), what(&b), "{name}");
    }
    assert_eq!(
        fs::metadata(to.join("linked")).unwrap().ino(),
        fs::metadata(to.join("folder/file")).unwrap().ino()
    );
    assert_ne!(
        fs::metadata(to.join("linked")).unwrap().ino(),
        fs::metadata(from.join("linked")).unwrap().ino()
    );
    assert_eq!(fs::read_link(to.join("symbolic")).unwrap(), Path::new("/etc/passwd"));
    assert!(fs::metadata(to.join("sparse")).unwrap().blocks() < 1000, "a hole stays a hole");
    let mut end = [0; 3];
    let copied = fs::File::open(to.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&copied, &mut end, 1 << 30).unwrap();
    assert_eq!(&end, b"end");
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(to.join("folder/file"), "user.test", &mut value).unwrap();
    assert_eq!(&value[..length], b"value");
}

#[test]
fn a_root_that_overlayfs_cannot_be_given_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a:b", "a,b", "a\\b"] {
        let error = Store::open(&root.path().join(name)).unwrap_err();
        assert_eq!(error.code(), api::code::Code::InvalidArgument, "{error}");
    }
    assert_eq!(Store::open(Path::new("relative")).unwrap_err().code(), api::code::Code::InvalidArgument);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
