//! What a container changed of its image's files: its own layer, compared with those below it.
//!
//! The layer is an overlay's upper directory: a device 0:0 hides what is below it, a directory may hide all that is below
//! it, and whatever was touched was copied up. As Docker tells it: a file is changed if its type, mode, owner, size or time
//! is; a directory if its mode or owner is, or if anything in it was added, changed or deleted. Names come in the order of
//! their bytes, directories before what is in them. Of what was deleted only the top is told, and of mount points that had
//! to be made in every container nothing.
//!
//! The container may run: everything is opened from the layers' roots, without following a link.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Containers;
use super::record::Record;
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Changes of one container; each is some hundred bytes of the answer.
const CHANGES_MAX: usize = 1_000_000;
/// Levels of directories, one call each.
const DEPTH_MAX: usize = 512;

const OPAQUE: &str = "trusted.overlay.opaque";
/// Where things are mounted in every container. What is made for mounts that somebody asked for is told, as Docker does.
const USUAL_TARGETS: [&str; 8] =
    ["/dev", "/dev/pts", "/dev/shm", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// How a file differs from the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Changed,
    Added,
    Deleted,
}

/// A file that differs from the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub kind: ChangeKind,
}

impl Containers {
    /// Everything that is not as in the image.
    pub async fn changes(&self, container: &str) -> Result<Vec<Change>> {
        let record = self.find(container)?;
        let engine = self.engine.clone();
        blocking(move || engine.changes(&record)).await
    }
}

impl Engine {
    fn changes(&self, record: &Record) -> Result<Vec<Change>> {
        let directories = self.snapshots().directories(&record.id)?;
        let open = |path: &std::path::Path| {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
                what: "cannot open",
                path: path.to_owned(),
                source: errno.into(),
            })
        };
        let comparison = Comparison {
            upper: open(&directories.upper)?,
            lowers: directories.lower.iter().map(|path| open(path)).collect::<Result<_>>()?,
        };
        comparison.run()
    }
}

struct Comparison {
    upper: OwnedFd,
    /// Topmost first.
    lowers: Vec<OwnedFd>,
}

/// A directory of the upper layer that is compared.
struct Place {
    /// From the root, without a slash at its end; empty for the root.
    path: Vec<u8>,
    /// The layers whose directories it shows, or would without the upper one.
    layers: Vec<usize>,
    /// Nothing of the layers below shows through.
    is_alone: bool,
    depth: usize,
}

/// What was under a name before.
enum Before {
    Nothing,
    /// Its owner and mode, and the layers that have a part of it.
    Directory(Stat, Vec<usize>),
    Other(Stat),
}

impl Comparison {
    fn run(&self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let layers = (0..self.lowers.len()).collect();
        let root = Place { path: Vec::new(), layers, is_alone: false, depth: 0 };
        self.compare(&root, &mut changes)?;
        Ok(changes)
    }

    fn compare(&self, place: &Place, changes: &mut Vec<Change>) -> Result<()> {
        if place.depth == DEPTH_MAX {
            return Err(Error::InvalidArgument(format!("directories are nested deeper than {DEPTH_MAX}")));
        }
        let mut names = BTreeSet::new();
        let Some(directory) = open_below(self.upper.as_fd(), &place.path)? else { return Ok(()) };
        list(directory.as_fd(), &mut names)?;
        if place.is_alone {
            for layer in &place.layers {
                if let Some(directory) = open_below(self.lowers[*layer].as_fd(), &place.path)? {
                    list(directory.as_fd(), &mut names)?;
                }
            }
        }
        for name in names {
            if changes.len() >= CHANGES_MAX {
                return Err(Error::InvalidArgument(format!("more than {CHANGES_MAX} files were changed")));
            }
            self.compare_name(place, directory.as_fd(), &name, changes)?;
        }
        Ok(())
    }

    fn compare_name(
        &self,
        place: &Place,
        directory: BorrowedFd<'_>,
        name: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let path = [&place.path[..], b"/", name].concat();
        let shown = String::from_utf8_lossy(&path).into_owned();
        let before = self.before(&place.layers, &path)?;
        let now = look(directory, name)?.filter(|stat| !is_whiteout(stat));
        let change = |kind| Change { path: shown.clone(), kind };
        let Some(now) = now else {
            if !matches!(before, Before::Nothing) {
                changes.push(change(ChangeKind::Deleted));
            }
            return Ok(());
        };
        let at = changes.len();
        let kind = match &before {
            Before::Nothing => Some(ChangeKind::Added),
            Before::Directory(before, _) | Before::Other(before) => {
                differs(before, &now).then_some(ChangeKind::Changed)
            }
        };
        if file_type(&now) == FileType::Directory {
            let is_alone = place.is_alone || self.is_opaque(&path)?;
            let layers = match &before {
                Before::Directory(_, layers) => layers.clone(),
                Before::Nothing | Before::Other(_) => Vec::new(),
            };
            self.compare(&Place { path, layers, is_alone, depth: place.depth + 1 }, changes)?;
        } else if let Before::Directory(_, layers) = &before {
            // The directory that was there took everything in it along.
            self.deleted(&path, layers, changes)?;
        }
        let has_changes = changes.len() > at;
        let was_made_to_mount_on =
            kind == Some(ChangeKind::Added) && !has_changes && is_usual_mount_point(&shown, &now);
        match kind.or(has_changes.then_some(ChangeKind::Changed)) {
            Some(kind) if !was_made_to_mount_on => changes.insert(at, change(kind)),
            _ => {}
        }
        Ok(())
    }

    /// What the layers below show at a path, of which `layers` show the parent.
    fn before(&self, layers: &[usize], path: &[u8]) -> Result<Before> {
        let mut found: Option<(Stat, Vec<usize>)> = None;
        for &layer in layers {
            let Some((file, stat)) = stat_below(self.lowers[layer].as_fd(), path)? else { continue };
            if file_type(&stat) != FileType::Directory {
                if found.is_none() && !is_whiteout(&stat) {
                    return Ok(Before::Other(stat));
                }
                break;
            }
            found.get_or_insert((stat, Vec::new())).1.push(layer);
            if has_opaque_mark(file)? {
                break;
            }
        }
        Ok(found.map_or(Before::Nothing, |(stat, layers)| Before::Directory(stat, layers)))
    }

    /// Everything that a directory of the layers below had.
    fn deleted(&self, path: &[u8], layers: &[usize], changes: &mut Vec<Change>) -> Result<()> {
        let mut names = BTreeSet::new();
        for layer in layers {
            if let Some(directory) = open_below(self.lowers[*layer].as_fd(), path)? {
                list(directory.as_fd(), &mut names)?;
            }
        }
        for name in names {
            let path = [path, b"/", &name[..]].concat();
            if !matches!(self.before(layers, &path)?, Before::Nothing) {
                let path = String::from_utf8_lossy(&path).into_owned();
                changes.push(Change { path, kind: ChangeKind::Deleted });
            }
        }
        Ok(())
    }

    fn is_opaque(&self, path: &[u8]) -> Result<bool> {
        match stat_below(self.upper.as_fd(), path)? {
            Some((file, _)) => has_opaque_mark(file),
            None => Ok(false),
        }
    }
}

/// Whether something is mounted in every container at what is empty, or below it.
fn is_usual_mount_point(path: &str, stat: &Stat) -> bool {
    let is_above = |target: &&str| {
        target.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match file_type(stat) {
        FileType::Directory => USUAL_TARGETS.iter().any(is_above),
        FileType::RegularFile => stat.st_size == 0 && USUAL_TARGETS.contains(&path),
        _ => false,
    }
}

/// Docker's comparison.
fn differs(before: &Stat, now: &Stat) -> bool {
    let facts = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    let is_directory = file_type(now) == FileType::Directory;
    facts(before) != facts(now) || (!is_directory && content(before) != content(now))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn look(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}

fn list(directory: BorrowedFd<'_>, names: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    for entry in Dir::read_from(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(name);
        }
        if names.len() > CHANGES_MAX {
            return Err(Error::InvalidArgument(format!("a directory has more than {CHANGES_MAX} names")));
        }
    }
    Ok(())
}

/// A directory of a layer, to be listed; nothing if there is none.
fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>> {
    below(root, path, OFlags::DIRECTORY | OFlags::RDONLY)
}

/// A file of a layer, and what it is.
fn stat_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
    let Some(file) = below(root, path, OFlags::PATH | OFlags::NOFOLLOW)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    Ok(Some((file, stat)))
}

fn below(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<Option<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = path.strip_prefix(b"/").unwrap_or(b".");
    match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}

/// Whether a directory hides what is below it.
fn has_opaque_mark(directory: OwnedFd) -> Result<bool> {
    // Attributes are read of an open file only.
    let directory =
        linux::path::reopen(directory.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(&directory, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(length == 1 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(failed(errno)),
    }
}

fn failed(errno: Errno) -> Error {
    Error::System { what: "cannot compare the container's files", source: errno.into() }
}
