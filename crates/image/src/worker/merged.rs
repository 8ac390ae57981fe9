//! The tree that an overlay of directories shows, without one being mounted: read by descriptors alone.
//!
//! A whiteout hides what the layers below have under its name, an opaque directory what they have in it; directories of one name
//! merge down to the first layer that has something else there. An overlay's other marks say that a file's content is elsewhere:
//! whoever meets one is told ([`Errno::XDEV`]).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fgetxattr};
use rustix::io::Errno;

use crate::apply::{look, open_directory};

pub(super) const OPAQUE: &str = "trusted.overlay.opaque";
/// Attributes of what has its content elsewhere.
const ELSEWHERE: [&str; 2] = ["trusted.overlay.redirect", "trusted.overlay.metacopy"];

/// A directory of the tree: those that merge, topmost first. Without any there is nothing in it.
#[derive(Debug, Default)]
pub(super) struct Merged(Vec<OwnedFd>);

/// What a directory of the tree has under a name.
#[derive(Debug)]
pub(super) enum Shown<'a> {
    Nothing,
    Directory(Merged),
    /// In this directory of a layer.
    Other(BorrowedFd<'a>, Stat),
}

impl Merged {
    /// The root of the tree of some layers, topmost first.
    pub(super) fn root(layers: &[BorrowedFd<'_>]) -> rustix::io::Result<Merged> {
        layers.iter().map(|layer| open_directory(layer, b".")).collect::<Result<_, _>>().map(Merged)
    }

    /// The directory whose owner, mode and attributes are shown.
    pub(super) fn top(&self) -> Option<BorrowedFd<'_>> {
        self.0.first().map(AsFd::as_fd)
    }

    /// Whatever may be shown in it: also names that are hidden.
    pub(super) fn names(&self) -> rustix::io::Result<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for layer in &self.0 {
            for entry in Dir::read_from(layer)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.insert(name);
                }
            }
        }
        Ok(names)
    }

    pub(super) fn child(&self, name: &[u8]) -> rustix::io::Result<Shown<'_>> {
        let mut directories = Vec::new();
        for layer in &self.0 {
            let Some(stat) = look(layer, name)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if directories.is_empty() && !is_whiteout(&stat) {
                    return Ok(Shown::Other(layer.as_fd(), stat));
                }
                break;
            }
            let directory = match open_directory(layer, name) {
                Ok(directory) => directory,
                // It has become something else, or nothing.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => break,
                Err(errno) => return Err(errno),
            };
            refuse_elsewhere(directory.as_fd())?;
            let is_last = attribute(directory.as_fd(), OPAQUE)?.as_deref() == Some(b"y");
            directories.push(directory);
            if is_last {
                break;
            }
        }
        Ok(if directories.is_empty() { Shown::Nothing } else { Shown::Directory(Merged(directories)) })
    }
}

/// Opens a regular file of a layer. A fifo that took its place must not block.
pub(super) fn open_file(layer: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(layer, name, flags, Mode::empty())
}

/// # Errors
/// [`Errno::XDEV`] for what has its content elsewhere.
pub(super) fn refuse_elsewhere(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    for name in ELSEWHERE {
        if attribute(file, name)?.is_some() {
            return Err(Errno::XDEV);
        }
    }
    Ok(())
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn attribute(file: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = [0; 16];
    match fgetxattr(file, name, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        // Longer than anything that is asked for.
        Err(Errno::RANGE) => Ok(Some(Vec::new())),
        Err(errno) => Err(errno),
    }
}
