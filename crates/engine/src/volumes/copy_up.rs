//! Filling a new volume with what an image has at its target: a copy of a tree, by descriptors.
//!
//! The source is hostile: it is opened below the image's root with `openat2`, and below it nothing is followed. What is
//! copied: directories, files (hard links among them stay so), links, devices, with owners, modes, times and extended
//! attributes.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// Each level holds two descriptors; no honest image nests deeper.
const DEPTH_MAX: usize = 256;
const XATTR_LIST_MAX: usize = 64 << 10;
const XATTR_VALUE_MAX: usize = 64 << 10;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory at `path` below `root`; none: there is no such directory.
pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> io::Result<Option<OwnedFd>> {
    match linux::path::open_in_root(root, &CString::new(path)?, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(source) => Ok(Some(source)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies what [`open`] found into the empty directory `target`.
pub(super) fn copy(source: OwnedFd, target: &Path) -> io::Result<()> {
    let target = fs::open(target, DIRECTORY, Mode::empty())?;
    let stat = fs::fstat(&source)?;
    let mut copier = Copier { root: target.as_fd().try_clone_to_owned()?, links: HashMap::new() };
    copier.tree(source, target, &stat)
}

struct Copier {
    /// The target, to name hard links from.
    root: OwnedFd,
    /// Device and inode of files with several names, and the first of them below the target.
    links: HashMap<(u64, u64), PathBuf>,
}

/// A directory that is being copied.
struct Level {
    entries: Dir,
    source: OwnedFd,
    target: OwnedFd,
    stat: Stat,
    path: PathBuf,
}

impl Copier {
    fn tree(&mut self, source: OwnedFd, target: OwnedFd, stat: &Stat) -> io::Result<()> {
        let mut levels = vec![Level::open(source, target, *stat, PathBuf::new())?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.read() else {
                // Last: adding entries changes a directory's times.
                let level = levels.pop().expect("it was just looked at");
                copy_attributes(&level.source, &level.target)?;
                set_metadata(level.target.as_fd(), c"", &level.stat)?;
                continue;
            };
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = fs::statat(&level.source, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                self.entry(level, name, &stat)?;
                continue;
            }
            let path = level.path_of(name);
            let source = fs::openat(&level.source, name, DIRECTORY, Mode::empty())?;
            fs::mkdirat(&level.target, name, Mode::RWXU)?;
            let target = fs::openat(&level.target, name, DIRECTORY, Mode::empty())?;
            if levels.len() == DEPTH_MAX {
                return Err(io::Error::other("directories are nested too deeply"));
            }
            levels.push(Level::open(source, target, stat, path)?);
        }
        Ok(())
    }

    /// Copies what is not a directory.
    fn entry(&mut self, level: &Level, name: &CStr, stat: &Stat) -> io::Result<()> {
        let (source, target) = (level.source.as_fd(), level.target.as_fd());
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(fs::linkat(&self.root, first.as_path(), target, name, AtFlags::empty())?);
            }
            self.links.insert((stat.st_dev, stat.st_ino), level.path_of(name));
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from =
                    fs::openat(source, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
                let to = fs::openat(
                    target,
                    name,
                    flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
                    Mode::RUSR | Mode::WUSR,
                )?;
                let (mut from, mut to) = (File::from(from), File::from(to));
                io::copy(&mut from, &mut to)?;
                set_metadata(target, name, stat)?;
                // After the change of owner, which drops capabilities.
                return copy_attributes(&from, &to);
            }
            FileType::Symlink => {
                let link = fs::readlinkat(source, name, Vec::new())?;
                fs::symlinkat(link.as_c_str(), target, name)?;
            }
            kind => fs::mknodat(target, name, kind, Mode::RUSR, stat.st_rdev)?,
        }
        set_metadata(target, name, stat)
    }
}

impl Level {
    fn open(source: OwnedFd, target: OwnedFd, stat: Stat, path: PathBuf) -> io::Result<Level> {
        Ok(Level { entries: Dir::read_from(&source)?, source, target, stat, path })
    }

    /// Of an entry, below the target.
    fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }
}

/// Owner, mode and times of an entry, or with an empty name of the directory itself.
fn set_metadata(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: nanoseconds(stat.st_atime_nsec) },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: nanoseconds(stat.st_mtime_nsec) },
    };
    if name.is_empty() {
        fs::fchown(directory, Some(owner), Some(group))?;
        fs::fchmod(directory, Mode::from_raw_mode(stat.st_mode))?;
        return Ok(fs::futimens(directory, &times)?);
    }
    fs::chownat(directory, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // It is ours: nobody else sees the volume yet.
        fs::chmodat(directory, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    }
    Ok(fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}

fn copy_attributes(source: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let mut names = vec![0; XATTR_LIST_MAX];
    let length = match fs::flistxattr(&source, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0; XATTR_VALUE_MAX];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // The overlay's own marks mean nothing outside of it.
        if name.starts_with(b"trusted.") {
            continue;
        }
        let length = fs::fgetxattr(&source, OsStr::from_bytes(name), &mut value)?;
        match fs::fsetxattr(&target, OsStr::from_bytes(name), &value[..length], XattrFlags::empty()) {
            // The volume's file system may lack what the image's has.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn copy_of(build: impl FnOnce(&Path), path: &str) -> tempfile::TempDir {
        let image = tempfile::tempdir().unwrap();
        build(image.path());
        let target = tempfile::tempdir().unwrap();
        let root = fs::open(image.path(), DIRECTORY, Mode::empty()).unwrap();
        if let Some(source) = open(root.as_fd(), path).unwrap() {
            copy(source, target.path()).unwrap();
        }
        target
    }

    #[test]
    fn a_tree_is_copied_with_everything_that_it_has() {
        let target = copy_of(
            |image| {
                let data = image.join("data");
                std::fs::create_dir_all(data.join("deep/er")).unwrap();
                std::fs::write(data.join("deep/er/file"), "text").unwrap();
                std::fs::hard_link(data.join("deep/er/file"), data.join("again")).unwrap();
                symlink("/etc/passwd", data.join("link")).unwrap();
                std::os::unix::fs::chown(data.join("deep"), Some(33), Some(44)).unwrap();
                std::fs::set_permissions(data.join("again"), std::fs::Permissions::from_mode(0o4755))
                    .unwrap();
                std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o1777)).unwrap();
                std::os::unix::fs::chown(&data, Some(5), Some(6)).unwrap();
                fs::mknodat(fs::CWD, data.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            },
            "/data",
        );
        let path = target.path();
        assert_eq!(std::fs::read_to_string(path.join("deep/er/file")).unwrap(), "text");
        let (one, other) =
            (path.join("again").metadata().unwrap(), path.join("deep/er/file").metadata().unwrap());
        assert_eq!((one.ino(), one.mode() & 0o7777), (other.ino(), 0o4755));
        assert_eq!(std::fs::read_link(path.join("link")).unwrap(), Path::new("/etc/passwd"));
        let deep = path.join("deep").metadata().unwrap();
        assert_eq!((deep.uid(), deep.gid()), (33, 44));
        let own = path.metadata().unwrap();
        assert_eq!((own.uid(), own.gid(), own.mode() & 0o7777), (5, 6, 0o1777));
        assert_eq!(path.join("fifo").metadata().unwrap().mode() & 0o170_000, 0o010_000);
    }

    #[test]
    fn links_lead_into_the_image_and_never_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let place = outside.path().to_owned();
        for path in ["/link", "/../../../..", "/missing", "/file", "/proc/self/root"] {
            let place = place.clone();
            let target = copy_of(
                move |image| {
                    symlink(&place, image.join("link")).unwrap();
                    std::fs::write(image.join("file"), "x").unwrap();
                },
                path,
            );
            let names: Vec<_> =
                std::fs::read_dir(target.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(!names.iter().any(|name| name == "secret" || name == "etc"), "{path}: {names:?}");
        }
    }
}
