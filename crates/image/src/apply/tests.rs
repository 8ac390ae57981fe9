//! Layers are applied in trees that somebody changes meanwhile: nothing that was checked by its name is found again by it.
//!
//! The worker is confined as well; these tests have no such net.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{CWD, RenameFlags};

use super::*;
use crate::tar::Writer;

/// A tree, and beside it a canary that nothing may touch.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::Builder::new().prefix("corten-test-apply-").tempdir().unwrap();
        for name in ["tree", "canary", "canary/d"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("canary/file"), "canary").unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// All that could have been changed of the canary.
    fn canary(&self) -> Vec<(u64, u32, u32, u64, i64, u64)> {
        let of = |name: &str| {
            let data = fs::symlink_metadata(self.path(name)).unwrap();
            (data.ino(), data.mode(), data.uid(), data.nlink(), data.mtime(), data.len())
        };
        ["canary", "canary/d", "canary/file"].map(of).to_vec()
    }

    /// Applies an archive again and again while `disturb` is called again and again: both so often that the right moments come,
    /// though an archive ends where something was swapped too early.
    fn disturbed(&self, archive: &[u8], disturb: impl Fn(&Path) + Sync) {
        const TIMES: u32 = 100;
        const DISTURBANCES: u32 = 60_000;
        let before = self.canary();
        let is_over = AtomicBool::new(false);
        let (mut times, disturbances) = (0, AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    disturb(self.0.path());
                    disturbances.fetch_add(1, Ordering::Relaxed);
                }
            });
            while times < TIMES || disturbances.load(Ordering::Relaxed) < DISTURBANCES {
                let upper = File::open(self.path("tree")).unwrap().into();
                let target = Target { upper, lowers: Vec::new() };
                // What was swapped is refused, or it was too late.
                let _ = apply(&mut Reader::new(archive), target, Whiteouts::Hide, &mut |_| {});
                times += 1;
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(self.canary(), before, "the canary was touched");
        assert_eq!(
            fs::read_dir(self.path("canary/d")).unwrap().count(),
            0,
            "something was put beside the tree"
        );
    }
}

fn archive(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for entry in entries {
        let size = usize::try_from(entry.size).unwrap();
        writer.entry(&entry).unwrap();
        writer.content(&vec![b'x'; size]).unwrap();
    }
    writer.finish().unwrap()
}

/// Somebody else's entry, with every bit of its mode.
fn entry(kind: Kind, path: &str) -> Entry {
    Entry { mode: 0o6777, uid: 1234, gid: 1234, link: b"f".into(), ..Entry::new(kind, path) }
}

#[test]
fn a_special_file_that_is_swapped_for_a_link_is_not_found_by_its_name() {
    let folder = Folder::new();
    let kinds = [Kind::Fifo, Kind::Fifo, Kind::Fifo, Kind::Symlink];
    let archive = archive((0..300).map(|n| entry(kinds[n % 4], "special")));
    folder.disturbed(&archive, |folder| {
        // Whichever of them fails because the other side was faster.
        let _ = symlink(folder.join("canary/file"), folder.join("link"));
        let _ = fs::rename(folder.join("link"), folder.join("tree/special"));
    });
}

#[test]
fn a_directory_that_is_swapped_for_a_link_is_not_found_by_its_name() {
    let folder = Folder::new();
    let archive = archive((0..100).flat_map(|n| {
        // Other directories in between, so that it is looked up again.
        let files = ["e/f", "d/f", "d/g"].map(|path| Entry { size: 1, ..entry(Kind::File, path) });
        let fifo = entry(Kind::Fifo, &format!("d/{n}"));
        let hard_link = Entry { link: b"d/f".into(), ..entry(Kind::HardLink, "d/h") };
        // Now and then the entry of the directory itself, which makes one of the link.
        let directory = (n % 20 == 0).then(|| entry(Kind::Directory, "d"));
        directory.into_iter().chain(files).chain([fifo, hard_link])
    }));
    let aside = AtomicU32::new(0);
    folder.disturbed(&archive, |folder| {
        let (link, directory) = (folder.join("link"), folder.join("tree/d"));
        if symlink(folder.join("canary/d"), &link).is_err() && !link.is_symlink() {
            // The other side has replaced the link meanwhile: what is here now is a directory.
            let number = aside.fetch_add(1, Ordering::Relaxed);
            let _ = fs::rename(&link, folder.join(format!("aside-{number}")));
        }
        for _ in 0..2 {
            let _ = rustix::fs::renameat_with(CWD, &link, CWD, &directory, RenameFlags::EXCHANGE);
        }
    });
}

#[test]
fn a_file_that_is_swapped_for_a_link_is_not_written_through_it() {
    let folder = Folder::new();
    let archive = archive((0..300).map(|_| Entry { size: 9, ..entry(Kind::File, "f") }));
    folder.disturbed(&archive, |folder| {
        let _ = symlink(folder.join("canary/file"), folder.join("link"));
        let _ = fs::rename(folder.join("link"), folder.join("tree/f"));
    });
}
