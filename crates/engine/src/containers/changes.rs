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
/// Levels of directories, each of which holds a descriptor.
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
}

/// A directory whose names are being compared.
struct Level {
    place: Place,
    directory: OwnedFd,
    names: std::collections::btree_set::IntoIter<Vec<u8>>,
    /// What is told of it when it is known whether anything in it is.
    own: Option<Own>,
}

/// A directory that may have changed itself.
struct Own {
    kind: Option<ChangeKind>,
    path: String,
    stat: Stat,
    /// Where in the list it stands: before what is in it.
    at: usize,
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
        let root = Place { path: Vec::new(), layers, is_alone: false };
        let mut levels: Vec<Level> = self.enter(root, None)?.into_iter().collect();
        // Not by recursion: a container nests directories deeper than a thread has room for.
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                if let Some(own) = levels.pop().and_then(|level| level.own) {
                    own.tell(&mut changes);
                }
                continue;
            };
            if changes.len() >= CHANGES_MAX {
                return Err(Error::InvalidArgument(format!("more than {CHANGES_MAX} files were changed")));
            }
            if let Some(inner) = self.compare_name(level, &name, &mut changes)? {
                if levels.len() == DEPTH_MAX {
                    let what = format!("directories are nested deeper than {DEPTH_MAX}");
                    return Err(Error::InvalidArgument(what));
                }
                levels.push(inner);
            }
        }
        Ok(changes)
    }

    /// Lists a directory; nothing if it has gone meanwhile.
    fn enter(&self, place: Place, own: Option<Own>) -> Result<Option<Level>> {
        let mut names = BTreeSet::new();
        let Some(directory) = open_below(self.upper.as_fd(), &place.path)? else { return Ok(None) };
        list(directory.as_fd(), &mut names)?;
        if place.is_alone {
            for layer in &place.layers {
                if let Some(directory) = open_below(self.lowers[*layer].as_fd(), &place.path)? {
                    list(directory.as_fd(), &mut names)?;
                }
            }
        }
        Ok(Some(Level { place, directory, names: names.into_iter(), own }))
    }

    /// Compares one name. A directory is returned: what is in it was not compared.
    fn compare_name(&self, level: &Level, name: &[u8], changes: &mut Vec<Change>) -> Result<Option<Level>> {
        let place = &level.place;
        let path = [&place.path[..], b"/", name].concat();
        let shown = String::from_utf8_lossy(&path).into_owned();
        let before = self.before(&place.layers, &path)?;
        let now = look(level.directory.as_fd(), name)?.filter(|stat| !is_whiteout(stat));
        let Some(stat) = now else {
            if !matches!(before, Before::Nothing) {
                changes.push(Change { path: shown, kind: ChangeKind::Deleted });
            }
            return Ok(None);
        };
        let kind = match &before {
            Before::Nothing => Some(ChangeKind::Added),
            Before::Directory(before, _) | Before::Other(before) => {
                differs(before, &stat).then_some(ChangeKind::Changed)
            }
        };
        let own = Own { kind, path: shown, stat, at: changes.len() };
        let layers = match before {
            Before::Directory(_, layers) => layers,
            Before::Nothing | Before::Other(_) => Vec::new(),
        };
        if file_type(&stat) == FileType::Directory {
            let is_alone = place.is_alone || self.is_opaque(&path)?;
            return self.enter(Place { path, layers, is_alone }, Some(own));
        }
        // The directory that was there took everything in it along.
        self.deleted(&path, &layers, changes)?;
        own.tell(changes);
        Ok(None)
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

impl Own {
    /// Tells of it, if it has changed itself or anything in it has.
    fn tell(self, changes: &mut Vec<Change>) {
        let has_changes = changes.len() > self.at;
        let is_made_to_mount_on = self.kind == Some(ChangeKind::Added)
            && !has_changes
            && is_usual_mount_point(&self.path, &self.stat);
        let kind = self.kind.or(has_changes.then_some(ChangeKind::Changed));
        if let Some(kind) = kind.filter(|_| !is_made_to_mount_on) {
            changes.insert(self.at, Change { path: self.path, kind });
        }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn whiteout(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn make_opaque(path: &Path) {
        rustix::fs::setxattr(path, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    }

    /// What is told of layers that `build` made, topmost first.
    fn changes(build: impl FnOnce([&Path; 3])) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let [upper, middle, base] = ["upper", "middle", "base"].map(|name| folder.path().join(name));
        for path in [&upper, &middle, &base] {
            fs::create_dir(path).unwrap();
        }
        build([&upper, &middle, &base]);
        let comparison = Comparison { upper: open(&upper), lowers: vec![open(&middle), open(&base)] };
        let letter = |kind| match kind {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        let told = |change: Change| format!("{} {}", letter(change.kind), change.path);
        Ok(comparison.run()?.into_iter().map(told).collect())
    }

    #[test]
    fn whiteouts_and_opaque_directories_delete_what_was_there() {
        let told = changes(|[upper, middle, base]| {
            for name in ["d/kept", "d/gone", "e/old", "e/sub/x", "g/hidden", "h/f"] {
                fs::create_dir_all(base.join(name).parent().unwrap()).unwrap();
                fs::write(base.join(name), "1").unwrap();
            }
            // What a layer of the image deleted is not there to be deleted again.
            fs::create_dir(middle.join("g")).unwrap();
            whiteout(&middle.join("g/hidden"));
            for name in ["d", "e", "g", "h"] {
                fs::create_dir(upper.join(name)).unwrap();
            }
            whiteout(&upper.join("d/gone"));
            whiteout(&upper.join("g/hidden"));
            make_opaque(&upper.join("e"));
            fs::create_dir(upper.join("e/sub")).unwrap();
            fs::write(upper.join("e/new"), "2").unwrap();
            fs::remove_dir(upper.join("h")).unwrap();
            fs::write(upper.join("h"), "a file now").unwrap();
        });
        let expected =
            ["C /d", "D /d/gone", "C /e", "A /e/new", "D /e/old", "C /e/sub", "D /e/sub/x", "C /h", "D /h/f"];
        assert_eq!(told.unwrap(), expected);
    }

    #[test]
    fn what_is_made_to_mount_on_in_every_container_is_not_told() {
        let told = changes(|[upper, _, base]| {
            fs::create_dir(base.join("etc")).unwrap();
            for name in ["proc", "sys", "dev/pts", "etc", "data"] {
                fs::create_dir_all(upper.join(name)).unwrap();
            }
            fs::write(upper.join("etc/hosts"), "").unwrap();
            fs::write(upper.join("etc/resolv.conf"), "written to").unwrap();
        });
        assert_eq!(told.unwrap(), ["A /data", "C /etc", "A /etc/resolv.conf"]);
    }

    #[test]
    fn directories_that_are_nested_too_deeply_are_refused() {
        let told = changes(|[upper, ..]| {
            let path = upper.join("d/".repeat(DEPTH_MAX + 1));
            fs::create_dir_all(path).unwrap();
        });
        assert!(matches!(told, Err(Error::InvalidArgument(why)) if why.contains("nested")));
    }
}
