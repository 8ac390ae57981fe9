//! The merged tree of a layer in the making and of the layers beneath it, by descriptors only.
//!
//! A [`Directory`] is one directory of the merged tree: its descriptor in the upper directory and those of the
//! lower layers that show through. Walking into a child opens each with `O_NOFOLLOW`; a symbolic link is read
//! and its components are walked in its place, with `/` and `..` stopping at the root. So nothing is ever
//! resolved by the kernel, and nothing outside the given directories can be reached, whoever moves what meanwhile.
//!
//! Everything in the upper directory was made by the layer that is being applied: it began empty.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, time_of};
use super::{During, EntryProblem, EntryResult, Target, create_file, look, open_directory, open_made};
use crate::tar::Time;

/// Longest real path below the upper directory. Links lead deeper than any name could, up to trees that nobody could
/// name, list or remove.
const MAX_DEPTH_BYTES: usize = crate::tar::MAX_PATH_LENGTH - 1;
/// Levels of directories that are removed.
const MAX_DEPTH: usize = MAX_DEPTH_BYTES / 2;
/// As many as the kernel follows in one path (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

pub(super) struct Tree {
    root: Rc<Directory>,
    /// The directories along the path that was walked last, as long as no link was in it: archives come sorted.
    trail: Vec<(Vec<u8>, Rc<Directory>)>,
    /// Directories that were copied up since this was emptied, and their times below.
    pub(super) copied_directories: Vec<(Vec<u8>, Time)>,
    /// Real paths of files that were copied up because a hard link names them.
    copied_files: HashSet<Vec<u8>>,
    /// What is below now is all that will be.
    knows_below: bool,
}

/// One directory of the merged tree; it exists in the upper directory.
pub(super) struct Directory {
    pub(super) upper: OwnedFd,
    /// Topmost first.
    lowers: Vec<OwnedFd>,
    /// Where it really is below the upper directory, without links.
    path: Vec<u8>,
    /// It is opaque or in something that is: nothing of lower layers will ever show in it.
    is_alone: bool,
}

/// What a walk does where the path ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Stop,
}

/// What the lower layers show under a name.
enum Below {
    Nothing,
    /// The directories that merge, topmost first.
    Directories(Vec<OwnedFd>),
    /// The layer that has it, and what it is.
    Other(usize, Stat),
}

/// What the merged tree shows under a name.
enum Child {
    Directory(Directory),
    Nothing,
    Other,
    Symlink(Vec<u8>),
}

impl Tree {
    pub(super) fn new(target: Target, knows_below: bool) -> rustix::io::Result<Tree> {
        let Target { upper, lowers } = target;
        let mut copied_directories = Vec::new();
        // An overlay shows the topmost root's owner and mode: a layer that does not state them keeps them.
        if let Some(lower) = lowers.first() {
            let stat = rustix::fs::fstat(lower)?;
            attributes::copy(lower.as_fd(), &stat, upper.as_fd())?;
            copied_directories.push((Vec::new(), time_of(&stat)));
        }
        let root = Rc::new(Directory { upper, lowers, path: Vec::new(), is_alone: false });
        Ok(Tree { root, trail: Vec::new(), copied_directories, copied_files: HashSet::new(), knows_below })
    }

    pub(super) fn root(&self) -> Rc<Directory> {
        self.root.clone()
    }

    /// Walks to a directory, making what is missing.
    pub(super) fn directory(&mut self, path: &[&[u8]]) -> EntryResult<Rc<Directory>> {
        self.walk(path, Missing::Make)?.ok_or_else(|| EntryProblem::ParentIsNoDirectory(path.join(&b'/')))
    }

    /// Walks to a directory, if it is there.
    pub(super) fn existing_directory(&mut self, path: &[&[u8]]) -> EntryResult<Option<Rc<Directory>>> {
        self.walk(path, Missing::Stop)
    }

    fn walk(&mut self, path: &[&[u8]], missing: Missing) -> EntryResult<Option<Rc<Directory>>> {
        let known = self.trail.iter().zip(path).take_while(|((name, _), part)| name == *part).count();
        self.trail.truncate(known);
        let mut walked: Vec<Rc<Directory>> = vec![self.root.clone()];
        walked.extend(self.trail.iter().map(|(_, directory)| directory.clone()));
        let mut rest: VecDeque<Vec<u8>> = path[known..].iter().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." if walked.len() == 1 => continue,
                b".." => {
                    walked.pop();
                    continue;
                }
                _ => {}
            }
            let here = walked.last().expect("the root is never popped").clone();
            if here.path.len() + name.len() >= MAX_DEPTH_BYTES {
                return Err(EntryProblem::TooDeep);
            }
            match self.child(&here, &name)? {
                Child::Directory(directory) => {
                    let directory = Rc::new(directory);
                    if links == 0 {
                        self.trail.push((name, directory.clone()));
                    }
                    walked.push(directory);
                }
                Child::Nothing | Child::Other if missing == Missing::Stop => return Ok(None),
                Child::Nothing => walked.push(Rc::new(self.make_directory(&here, &name)?)),
                Child::Other => return Err(EntryProblem::ParentIsNoDirectory(here.child_path(&name))),
                Child::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(EntryProblem::TooManyLinks);
                    }
                    if target.starts_with(b"/") {
                        walked.truncate(1);
                    }
                    target.split(|&byte| byte == b'/').rev().for_each(|part| rest.push_front(part.to_vec()));
                }
            }
        }
        Ok(walked.pop())
    }

    fn child(&mut self, here: &Directory, name: &[u8]) -> EntryResult<Child> {
        match look(&here.upper, name).during("looking up its parent")? {
            None => self.child_below(here, name),
            Some(stat) if is_whiteout(&stat) => Ok(Child::Nothing),
            Some(stat) => match file_type(&stat) {
                FileType::Directory => here.enter(name).map(Child::Directory).during("opening its parent"),
                FileType::Symlink => read_link(here.upper.as_fd(), name).map(Child::Symlink),
                _ => Ok(Child::Other),
            },
        }
    }

    fn child_below(&mut self, here: &Directory, name: &[u8]) -> EntryResult<Child> {
        match here.below(name).during("looking up its parent")? {
            Below::Nothing => Ok(Child::Nothing),
            Below::Directories(lowers) => self.copy_up_directory(here, name, lowers).map(Child::Directory),
            Below::Other(layer, stat) if file_type(&stat) == FileType::Symlink => {
                read_link(here.lowers[layer].as_fd(), name).map(Child::Symlink)
            }
            Below::Other(..) => Ok(Child::Other),
        }
    }

    fn copy_up_directory(
        &mut self,
        here: &Directory,
        name: &[u8],
        lowers: Vec<OwnedFd>,
    ) -> EntryResult<Directory> {
        const WHAT: &str = "copying its parent up";
        rustix::fs::mkdirat(&here.upper, name, Mode::RWXU).during(WHAT)?;
        let upper = open_directory(&here.upper, name).during(WHAT)?;
        let stat = rustix::fs::fstat(&lowers[0]).during(WHAT)?;
        attributes::copy(lowers[0].as_fd(), &stat, upper.as_fd()).during(WHAT)?;
        let path = here.child_path(name);
        self.copied_directories.push((path.clone(), time_of(&stat)));
        Ok(Directory { upper, lowers, path, is_alone: false })
    }

    /// A parent that nobody mentioned.
    fn make_directory(&mut self, here: &Directory, name: &[u8]) -> EntryResult<Directory> {
        const WHAT: &str = "making its parent";
        let way = self.make_way_for_directory(here, name)?;
        rustix::fs::mkdirat(&here.upper, name, Mode::RWXU).during(WHAT)?;
        let upper = open_directory(&here.upper, name).during(WHAT)?;
        if way == Way::MustHide {
            attributes::make_opaque(upper.as_fd()).during(WHAT)?;
        }
        rustix::fs::fchown(&upper, Some(rustix::fs::Uid::ROOT), Some(rustix::fs::Gid::ROOT)).during(WHAT)?;
        rustix::fs::fchmod(&upper, Mode::from_raw_mode(0o755)).during(WHAT)?;
        let is_alone = here.is_alone || way == Way::MustHide;
        Ok(Directory { upper, lowers: Vec::new(), path: here.child_path(name), is_alone })
    }

    /// Removes what this layer had under a name.
    pub(super) fn make_way(&mut self, parent: &Directory, name: &[u8]) -> EntryResult<()> {
        if let Some(stat) = look(&parent.upper, name).during("looking it up")? {
            self.remove(parent, name, &stat)?;
        }
        Ok(())
    }

    /// As [`Tree::make_way`], but a directory stays.
    pub(super) fn make_way_for_directory(&mut self, parent: &Directory, name: &[u8]) -> EntryResult<Way> {
        let Some(stat) = look(&parent.upper, name).during("looking it up")? else { return Ok(Way::Free) };
        if file_type(&stat) == FileType::Directory {
            return Ok(Way::Exists);
        }
        self.remove(parent, name, &stat)?;
        // What was removed had hidden a directory of lower layers, which must not show through the new one.
        if !self.knows_below {
            return Ok(Way::MustHide);
        }
        Ok(match parent.below(name).during("looking it up")? {
            Below::Directories(_) => Way::MustHide,
            Below::Nothing | Below::Other(..) => Way::Free,
        })
    }

    fn remove(&mut self, parent: &Directory, name: &[u8], stat: &Stat) -> EntryResult<()> {
        self.trail.clear();
        remove(parent.upper.as_fd(), name, stat, MAX_DEPTH).during("removing what it replaces")
    }

    /// Hides what lower layers have under a name; what this layer has stays.
    pub(super) fn hide(&mut self, parent: &Directory, name: &[u8]) -> EntryResult<()> {
        const WHAT: &str = "making the whiteout";
        match look(&parent.upper, name).during(WHAT)? {
            Some(stat) if file_type(&stat) == FileType::Directory => {
                let directory = open_directory(&parent.upper, name).during(WHAT)?;
                self.trail.clear();
                return make_opaque(directory.as_fd()).during(WHAT);
            }
            // A copy that a hard link needed is not this layer's own file.
            Some(stat) if self.copied_files.remove(&parent.child_path(name)) => {
                self.remove(parent, name, &stat)?
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if parent.is_alone || (self.knows_below && matches!(parent.below(name).during(WHAT)?, Below::Nothing))
        {
            return Ok(());
        }
        let device = rustix::fs::makedev(0, 0);
        rustix::fs::mknodat(&parent.upper, name, FileType::CharacterDevice, Mode::empty(), device)
            .during(WHAT)
    }

    /// Deletes what is under a name, except for what this layer `added`.
    pub(super) fn delete(
        &mut self,
        parent: &Directory,
        name: &[u8],
        added: &HashSet<Vec<u8>>,
    ) -> EntryResult<()> {
        const WHAT: &str = "deleting what its whiteout names";
        let Some(stat) = look(&parent.upper, name).during(WHAT)? else { return Ok(()) };
        let path = parent.child_path(name);
        if !added.contains(&path) {
            return self.remove(parent, name, &stat);
        }
        if file_type(&stat) != FileType::Directory {
            return Ok(());
        }
        let upper = open_directory(&parent.upper, name).during(WHAT)?;
        self.delete_all(&Directory { upper, lowers: Vec::new(), path, is_alone: false }, added)
    }

    /// Deletes what is in a directory, except for what this layer `added`.
    pub(super) fn delete_all(&mut self, directory: &Directory, added: &HashSet<Vec<u8>>) -> EntryResult<()> {
        for name in names(directory.upper.as_fd()).during("deleting what its whiteout names")? {
            self.delete(directory, &name, added)?;
        }
        Ok(())
    }

    /// Hides everything that lower layers have in a directory.
    pub(super) fn hide_all(&mut self, directory: &Directory) -> EntryResult<()> {
        const WHAT: &str = "making it opaque";
        if !directory.path.is_empty() {
            self.trail.clear();
            return make_opaque(directory.upper.as_fd()).during(WHAT);
        }
        // Overlayfs does not look for the mark on a layer's root.
        for lower in &directory.lowers {
            for name in names(lower.as_fd()).during(WHAT)? {
                self.hide(directory, &name)?;
            }
        }
        Ok(())
    }

    /// Makes sure that a name exists in the upper directory, if it does in the merged tree; returns what it is.
    /// Directories are not copied: nobody needs that.
    pub(super) fn copy_up(&mut self, parent: &Directory, name: &[u8]) -> EntryResult<Option<FileType>> {
        const WHAT: &str = "copying its target up";
        match look(&parent.upper, name).during(WHAT)? {
            Some(stat) if is_whiteout(&stat) => return Ok(None),
            Some(stat) => return Ok(Some(file_type(&stat))),
            None => {}
        }
        match parent.below(name).during(WHAT)? {
            Below::Nothing => Ok(None),
            Below::Directories(_) => Ok(Some(FileType::Directory)),
            Below::Other(layer, stat) => {
                copy_file(parent.lowers[layer].as_fd(), parent.upper.as_fd(), name, &stat)?;
                self.copied_files.insert(parent.child_path(name));
                Ok(Some(file_type(&stat)))
            }
        }
    }

    /// Opens a directory of the upper directory by its real path.
    pub(super) fn open_real(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.root.upper, path, flags, Mode::empty(), resolve)
    }
}

/// What stands in the way of a new directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The directory is there.
    Exists,
    Free,
    /// Nothing, but the new directory must be opaque.
    MustHide,
}

impl Directory {
    /// The real path of a child.
    pub(super) fn child_path(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() {
            return name.to_vec();
        }
        [&self.path, &b"/"[..], name].concat()
    }

    /// A child that is a directory in the upper directory.
    fn enter(&self, name: &[u8]) -> rustix::io::Result<Directory> {
        let upper = open_directory(&self.upper, name)?;
        let is_alone = self.is_alone || attributes::is_opaque(upper.as_fd())?;
        let lowers = if self.lowers.is_empty() || is_alone {
            Vec::new()
        } else if let Below::Directories(lowers) = self.below(name)? {
            lowers
        } else {
            Vec::new()
        };
        Ok(Directory { upper, lowers, path: self.child_path(name), is_alone })
    }

    /// What an overlay of the lower layers shows under a name.
    fn below(&self, name: &[u8]) -> rustix::io::Result<Below> {
        let mut directories = Vec::new();
        for (layer, lower) in self.lowers.iter().enumerate() {
            let Some(stat) = look(lower, name)? else { continue };
            if file_type(&stat) != FileType::Directory {
                if directories.is_empty() && !is_whiteout(&stat) {
                    return Ok(Below::Other(layer, stat));
                }
                break;
            }
            let directory = open_directory(lower, name)?;
            let is_last = attributes::is_opaque(directory.as_fd())?;
            directories.push(directory);
            if is_last {
                break;
            }
        }
        Ok(if directories.is_empty() { Below::Nothing } else { Below::Directories(directories) })
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn read_link(parent: BorrowedFd<'_>, name: &[u8]) -> EntryResult<Vec<u8>> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new()).during("reading a link in its path")?;
    Ok(target.into_bytes())
}

fn copy_file(lower: BorrowedFd<'_>, upper: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> EntryResult<()> {
    const WHAT: &str = "copying its target up";
    let kind = file_type(stat);
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut from =
                std::fs::File::from(rustix::fs::openat(lower, name, flags, Mode::empty()).during(WHAT)?);
            let mut to = std::fs::File::from(create_file(upper, name)?);
            std::io::copy(&mut from, &mut to).map_err(EntryProblem::Write)?;
            return attributes::copy(from.as_fd(), stat, to.as_fd()).during(WHAT);
        }
        FileType::Symlink => {
            rustix::fs::symlinkat(read_link(lower, name)?, upper, name).during(WHAT)?;
        }
        _ => rustix::fs::mknodat(upper, name, kind, Mode::empty(), stat.st_rdev).during(WHAT)?,
    }
    let made = open_made(upper, name, kind, stat.st_rdev)?;
    attributes::copy_on_path(stat, made.as_fd()).during(WHAT)
}

/// Makes a directory opaque, and takes the whiteouts in it away: they hide nothing more, and what is in an opaque directory
/// an overlay lists as it is, whiteouts included.
fn make_opaque(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // Where it is opaque already no whiteout is made.
    if attributes::is_opaque(directory)? {
        return Ok(());
    }
    remove_whiteouts(directory, MAX_DEPTH)?;
    attributes::make_opaque(directory)
}

fn remove_whiteouts(directory: BorrowedFd<'_>, depth: usize) -> rustix::io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    for name in names(directory)? {
        match look(directory, &name)? {
            Some(stat) if is_whiteout(&stat) => {
                rustix::fs::unlinkat(directory, name.as_slice(), AtFlags::empty())?;
            }
            Some(stat) if file_type(&stat) == FileType::Directory => {
                remove_whiteouts(open_directory(directory, &name)?.as_fd(), depth)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a name with everything below it; no deeper than `depth`, because a container can nest directories deeper than
/// any path is long.
fn remove(parent: BorrowedFd<'_>, name: &[u8], stat: &Stat, depth: usize) -> rustix::io::Result<()> {
    if file_type(stat) != FileType::Directory {
        return rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let directory = open_directory(parent, name)?;
    for child in names(directory.as_fd())? {
        if let Some(stat) = look(&directory, &child)? {
            remove(directory.as_fd(), &child, &stat, depth)?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// The names in a directory, but `.` and `..`.
fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}
