//! Snapshots as plain copies: `snapshots/native/<n>/fs`. For file systems that overlayfs cannot use as an upper layer.
//!
//! Every snapshot holds the whole tree. Copies share blocks where the file system can (reflink). Whiteouts have no meaning here: a
//! layer that is unpacked into a native snapshot deletes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::mount::Mount;
use rustix::fs::{AtFlags, CWD, FileType, Mode, SeekFrom, Timespec, Timestamps, XattrFlags};
use rustix::fs::{ioctl_ficlone, lgetxattr, llistxattr, lsetxattr, mknodat, seek, utimensat};
use rustix::io::Errno;

use super::overlay::make_dir;
use super::records::{FILES, Insert, Made, Records, tree_usage};
use super::{Directories, Info, Kind, PrepareOptions, Snapshotter, Usage};
use crate::db::{Commit, Db};
use crate::error::{Error, Result};

/// The longest list of names, and the largest value, that Linux allows for extended attributes.
const XATTR_MAX: usize = 64 << 10;

/// The native snapshotter.
#[derive(Debug)]
pub struct Native {
    records: Records,
}

impl Native {
    /// Also tells which snapshots were lost.
    pub(crate) fn open(root: PathBuf, db: Arc<Db>, is_trusted: bool) -> Result<(Native, Vec<String>)> {
        let native = Native { records: Records::open("native", root, db, is_trusted)? };
        let lost = native.records.mend(is_trusted, |info| {
            let parent = native.parent(info.parent.as_deref())?;
            fill(&native.records.remake(info.number)?, parent.as_deref())
        })?;
        Ok((native, lost))
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    fn tree(&self, number: i64) -> PathBuf {
        self.records.directory(number).join(FILES)
    }

    fn mounts_of(&self, number: i64, kind: Kind, name: &str) -> Result<Vec<Mount>> {
        let access = match kind {
            Kind::Active => "rw",
            Kind::View => "ro",
            Kind::Committed => return Err(Error::Snapshot { name: name.to_owned(), why: "is committed" }),
        };
        Ok(vec![Mount {
            kind: "bind".into(),
            source: self.tree(number).display().to_string(),
            target: String::new(),
            options: vec![access.to_owned(), "rbind".to_owned()],
        }])
    }

    fn parent(&self, name: Option<&str>) -> Result<Option<PathBuf>> {
        let chain = name.map_or(Ok(Vec::new()), |name| self.records.chain(name))?;
        Ok(chain.first().map(|info| self.tree(info.number)))
    }

    /// The directory of a snapshot that is to stand on `parent`: a copy.
    pub(super) fn draft(&self, parent: Option<&str>) -> Result<Made> {
        let parent = self.parent(parent)?;
        let made = self.records.make()?;
        fill(&made.path, parent.as_deref())?;
        Ok(made)
    }

    fn make(&self, key: &str, kind: Kind, insert: Insert<'_>) -> Result<Vec<Mount>> {
        let made = self.draft(insert.parent)?;
        let number = made.number;
        self.records.insert(made, key, kind, insert)?;
        self.mounts_of(number, kind, key)
    }
}

impl Snapshotter for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn prepare(&self, key: &str, parent: Option<&str>, options: PrepareOptions) -> Result<Vec<Mount>> {
        self.make(key, Kind::Active, Insert { parent, volatile: options.volatile, commit: options.commit })
    }

    fn view(&self, key: &str, parent: &str) -> Result<Vec<Mount>> {
        self.make(key, Kind::View, Insert { parent: Some(parent), volatile: false, commit: Commit::Ordered })
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let info = self.records.stat(key)?;
        self.mounts_of(info.number, info.kind, key)
    }

    fn commit(&self, name: &str, key: &str) -> Result<()> {
        self.records.commit(name, key)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.records.remove(name)
    }

    fn stat(&self, name: &str) -> Result<Info> {
        self.records.stat(name)
    }

    fn list(&self) -> Result<Vec<Info>> {
        self.records.list()
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        tree_usage(&self.tree(self.records.stat(name)?.number))
    }

    fn note_size(&self, name: &str, bytes: u64) -> Result<()> {
        self.records.note_size(name, bytes)
    }

    fn size(&self, name: &str) -> Result<u64> {
        self.records.size(name)
    }

    fn directories(&self, key: &str) -> Result<Directories> {
        Ok(Directories { upper: self.tree(self.records.stat(key)?.number), lower: Vec::new() })
    }

    fn cleanup(&self) -> Result<usize> {
        self.records.cleanup()
    }
}

fn fill(directory: &Path, parent: Option<&Path>) -> Result<()> {
    let tree = directory.join(FILES);
    make_dir(&tree, 0o755)?;
    parent.map_or(Ok(()), |parent| copy_tree(parent, &tree))
}

/// Copies everything below `from` into the directory `to`: types, owners, modes, times, extended attributes, hard links.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut links = HashMap::new();
    // Directories get their times last, because filling them changes them.
    let mut directories = vec![(from.to_owned(), to.to_owned())];
    let mut next = 0;
    while let Some((from, to)) = directories.get(next).cloned() {
        next += 1;
        let failed = |source| Error::file("list", &from, source);
        for entry in fs::read_dir(&from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let is_directory = copy_entry(&source, &target, &mut links)
                .map_err(|error| Error::file("copy", &source, error))?;
            if is_directory {
                directories.push((source, target));
            }
        }
    }
    for (from, to) in directories.iter().rev() {
        copy_attributes(from, to).map_err(|error| Error::file("copy", from, error))?;
    }
    Ok(())
}

/// Copies one entry; whether it is a directory, whose attributes are to be copied later.
fn copy_entry(from: &Path, to: &Path, links: &mut HashMap<(u64, u64), PathBuf>) -> io::Result<bool> {
    let data = fs::symlink_metadata(from)?;
    let kind = data.file_type();
    if kind.is_dir() {
        fs::create_dir(to)?;
        return Ok(true);
    }
    if data.nlink() > 1 {
        if let Some(first) = links.get(&(data.dev(), data.ino())) {
            fs::hard_link(first, to)?;
            return Ok(false);
        }
        links.insert((data.dev(), data.ino()), to.to_owned());
    }
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        copy_bytes(&File::open(from)?, &File::create_new(to)?, data.len())?;
    } else {
        let file_type = match () {
            () if kind.is_char_device() => FileType::CharacterDevice,
            () if kind.is_block_device() => FileType::BlockDevice,
            () if kind.is_fifo() => FileType::Fifo,
            () => FileType::Socket,
        };
        mknodat(CWD, to, file_type, Mode::from_raw_mode(0o600), data.rdev())?;
    }
    copy_attributes(from, to)?;
    Ok(false)
}

/// Shares the blocks where the file system can; else copies inside the kernel, and leaves holes as holes.
fn copy_bytes(from: &File, to: &File, length: u64) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(length)?;
    let mut position = 0;
    while position < length {
        position = match seek(from, SeekFrom::Data(position)) {
            // There is only a hole any more.
            Err(Errno::NXIO) => return Ok(()),
            start => start?,
        };
        let end = seek(from, SeekFrom::Hole(position))?;
        seek(from, SeekFrom::Start(position))?;
        seek(to, SeekFrom::Start(position))?;
        // The standard library uses copy_file_range(2) where that is possible.
        let copied = io::copy(&mut from.take(end - position), &mut &*to)?;
        if copied < end - position {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        position = end;
    }
    Ok(())
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(from)?;
    lchown(to, Some(data.uid()), Some(data.gid()))?;
    if !data.file_type().is_symlink() {
        // After the owner, because changing the owner clears the setuid bits.
        fs::set_permissions(to, fs::Permissions::from_mode(data.mode() & 0o7777))?;
    }
    copy_extended_attributes(from, to)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: data.atime(), tv_nsec: data.atime_nsec() },
        last_modification: Timespec { tv_sec: data.mtime(), tv_nsec: data.mtime_nsec() },
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_extended_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; XATTR_MAX];
    let length = match llistxattr(from, names.as_mut_slice()) {
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; XATTR_MAX];
        let length = lgetxattr(from, name, value.as_mut_slice())?;
        lsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
