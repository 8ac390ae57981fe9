//! Small file systems for tests that fill or stop one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use crate::{program, text};

/// A small file system of its own; unmounted at the end.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn folder() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap()
    }

    pub(crate) fn tmpfs(options: &str) -> Disk {
        let folder = Disk::folder();
        fs::create_dir(folder.path().join("disk")).unwrap();
        program("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(&folder.path().join("disk"))]);
        Disk { folder }
    }

    pub(crate) fn ext4(arguments: &[&str]) -> Disk {
        let folder = Disk::folder();
        let image = folder.path().join("image");
        fs::create_dir(folder.path().join("disk")).unwrap();
        File::create(&image).unwrap().set_len(40 << 20).unwrap();
        // Nothing is set aside for root: full is full.
        program("mkfs.ext4", &[&["-q", "-m", "0", "-F"], arguments, &[text(&image)]].concat());
        program("mount", &["-o", "loop", text(&image), text(&folder.path().join("disk"))]);
        Disk { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Writes until not one more byte fits.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
    }

    /// Makes files until there is not one more.
    pub(crate) fn fill_with_files(&self) {
        let folder = self.path().join("files");
        fs::create_dir_all(&folder).unwrap();
        let mut number = 0;
        while File::create(folder.join(number.to_string())).is_ok() {
            number += 1;
        }
    }
}

impl Disk {
    /// What the machine does after a power failure. Only where no other process can have copied the mount: a copy would
    /// keep the file system as it is.
    pub(crate) fn mount_again(&self) {
        program("umount", &[text(&self.path())]);
        program("mount", &["-o", "loop", text(&self.folder.path().join("image")), text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A child that another test has just forked may have a file of it open until it calls exec.
        program("umount", &["--lazy", text(&self.path())]);
    }
}
