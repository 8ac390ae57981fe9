//! Applies a layer's archive below a directory: what the worker does with a layer.
//!
//! The directory is the upper directory of an overlay; the directories of the layers beneath it are given, too,
//! topmost first. The result is what an overlay mount of all of them shows as the image's tree:
//!
//! * names are resolved component by component in the merged tree, every symbolic link as if the root were `/`;
//!   nothing outside the given directories can be named (see [`tree`]);
//! * `.wh.NAME` becomes overlayfs's whiteout (character device 0:0), `.wh..wh..opq` its `trusted.overlay.opaque`;
//!   both hide what lower layers have, never what this layer has (image specification, `layer.md`);
//! * a hard link to a file of a lower layer first copies it up, so that both names share it;
//! * where the layers below are not known yet, every whiteout stays; where the directory is a copy of them, it deletes
//!   ([`Whiteouts`]);
//! * parents that the archive does not mention are copied from below, or made with mode 0755;
//! * an entry replaces what this layer had under its name before, unless both are directories.
//!
//! Owners are set before modes, because chown(2) clears set-user-id; attributes after owners, because chown(2)
//! clears `security.capability`; the times of directories last, because their content changes them.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::tar::{Entry, Extent, Kind, Quoted, Reader, TarError, Time};
use attributes::{Attributes, no_follow};
use name::{Name, Role};
use tree::{Directory, Tree, Way};

mod attributes;
mod name;
mod tree;

/// How files are put into a tree that is somebody's already, in place of how a layer is applied: names have no second
/// meaning, and whoever has the tree may change it meanwhile. So nothing that was made is found again by its name,
/// unless whatever it leads to may be treated the same.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    /// The directory that the archive's names start from, below the tree's root.
    pub(crate) prefix: Vec<Vec<u8>>,
    /// A directory is not replaced by anything else, nor anything else by a directory.
    pub(crate) keeps_kinds: bool,
    /// Whose the files are to be, in place of whom the archive names.
    pub(crate) owner: Option<(u32, u32)>,
    /// What names of the archive begin with, and what they are to begin with.
    pub(crate) rename: Option<(Vec<u8>, Vec<u8>)>,
    /// Attributes that take privileges are left out.
    pub(crate) is_unprivileged: bool,
}

/// What a layer's whiteouts do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whiteouts {
    /// Hide what the layers below have, as far as they have it.
    #[default]
    Hide,
    /// Hide whatever the layers will have that are put below later.
    Keep,
    /// Delete: the directory is a copy of all that was below.
    Delete,
}

/// Where a layer goes.
pub(crate) struct Target {
    pub(crate) upper: OwnedFd,
    /// Topmost first.
    pub(crate) lowers: Vec<OwnedFd>,
}

/// What was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) size_bytes: u64,
    /// Extended attributes that the file system does not support.
    pub(crate) skipped_xattrs: u64,
}

/// Why a layer cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{}", Quoted(path))]
    Entry {
        path: Vec<u8>,
        #[source]
        problem: EntryProblem,
    },
    #[error("the layer's directory")]
    Target(#[source] Errno),
    #[error("the layer is not a valid archive")]
    Tar(#[source] TarError),
}

/// What is wrong with one entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryProblem {
    #[error("its name is empty")]
    EmptyName,
    #[error("cannot overwrite directory {} with non-directory {}", Quoted(.0), Quoted(.1))]
    KeepsDirectory(Vec<u8>, Vec<u8>),
    #[error("cannot overwrite non-directory {} with directory {}", Quoted(.0), Quoted(.1))]
    KeepsNonDirectory(Vec<u8>, Vec<u8>),
    #[error("its path leaves the root")]
    LeavesRoot,
    #[error("its hard link target {} leaves the root", Quoted(.0))]
    LinkLeavesRoot(Vec<u8>),
    #[error("its hard link target {} is a directory", Quoted(.0))]
    LinkToDirectory(Vec<u8>),
    #[error("its hard link target {} does not exist", Quoted(.0))]
    LinkToNothing(Vec<u8>),
    #[error("its parent {} is not a directory", Quoted(.0))]
    ParentIsNoDirectory(Vec<u8>),
    #[error("something else was put in its place meanwhile")]
    Replaced,
    #[error("a {0} cannot replace the root")]
    RootReplaced(Kind),
    #[error("its content cannot be read")]
    Tar(#[source] TarError),
    #[error("{what} failed")]
    System {
        what: &'static str,
        #[source]
        source: Errno,
    },
    #[error("its path leads too deep")]
    TooDeep,
    #[error("too many symbolic links in its path")]
    TooManyLinks,
    #[error("the whiteout names no file")]
    Whiteout,
    #[error("a character device 0:0 is an overlay's whiteout, not a device")]
    WhiteoutDevice,
    #[error("its content cannot be written")]
    Write(#[source] io::Error),
    #[error("its extended attribute {} belongs to the overlay or to the system", Quoted(.0))]
    Xattr(Vec<u8>),
}

pub(crate) type EntryResult<T> = Result<T, EntryProblem>;

/// Names the failed operation.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> EntryResult<T>;
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, what: &'static str) -> EntryResult<T> {
        self.map_err(|source| EntryProblem::System { what, source })
    }
}

/// Applies all entries of a layer's archive. `progress` is told the entries and bytes so far, now and then.
pub(crate) fn apply<R: BufRead>(
    reader: &mut Reader<R>,
    target: Target,
    whiteouts: Whiteouts,
    progress: &mut dyn FnMut(&Applied),
) -> Result<Applied, ApplyError> {
    let tree = Tree::new(target, whiteouts != Whiteouts::Keep).map_err(ApplyError::Target)?;
    apply_to(reader, Layer { whiteouts, ..Layer::new(tree, None) }, progress)
}

/// Puts all files of an archive into the tree below `root`.
pub(crate) fn place<R: BufRead>(
    reader: &mut Reader<R>,
    root: OwnedFd,
    placement: Placement,
) -> Result<Applied, ApplyError> {
    let tree = Tree::new(Target { upper: root, lowers: Vec::new() }, true).map_err(ApplyError::Target)?;
    apply_to(reader, Layer::new(tree, Some(placement)), &mut |_| {})
}

fn apply_to<R: BufRead>(
    reader: &mut Reader<R>,
    mut layer: Layer,
    progress: &mut dyn FnMut(&Applied),
) -> Result<Applied, ApplyError> {
    /// A progress report for every so many entries: cheap, and several a second on a slow disk.
    const PROGRESS_ENTRIES: u64 = 256;
    while let Some(mut entry) = reader.next_entry().map_err(ApplyError::Tar)? {
        if let Some(placement) = &layer.placement {
            placement.adapt(&mut entry);
        }
        if let Err(problem) = layer.add(&entry, reader) {
            return Err(ApplyError::Entry { path: entry.path, problem });
        }
        layer.applied.entries += 1;
        if layer.applied.entries.is_multiple_of(PROGRESS_ENTRIES) {
            progress(&layer.applied);
        }
    }
    layer.finish().map_err(ApplyError::Target)
}

struct Layer {
    tree: Tree,
    /// `None` for a layer.
    placement: Option<Placement>,
    whiteouts: Whiteouts,
    /// Where whiteouts delete: what this layer has, which they must not.
    added: HashSet<Vec<u8>>,
    applied: Applied,
    /// Real paths below the upper directory, and what their times shall be.
    directory_times: Vec<(Vec<u8>, Time)>,
}

impl Placement {
    /// Changes an entry to what is made of it.
    fn adapt(&self, entry: &mut Entry) {
        if let Some((uid, gid)) = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some((from, to)) = &self.rename {
            entry.path = renamed(&entry.path, from, to);
            if entry.kind == Kind::HardLink {
                entry.link = renamed(&entry.link, from, to);
            }
        }
        if self.is_unprivileged {
            entry.xattrs.retain(|xattr| xattr.name.starts_with(b"user."));
        }
        if !matches!(entry.kind, Kind::File | Kind::Directory) {
            // They are set by way of proc(5), which a worker that places files does not have.
            entry.xattrs.clear();
        }
    }

    /// Refuses to replace a directory by something else, and the other way round. In Docker's words.
    fn check_kind(&self, parent: &Directory, name: &[u8], entry: &Entry) -> EntryResult<()> {
        let Some(stat) = look(&parent.upper, name).during("looking it up")? else { return Ok(()) };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let path = || [b"/", &parent.child_path(name)[..]].concat();
        let place = || [b"/", &self.prefix.join(&b'/')[..]].concat();
        match (is_directory, entry.kind == Kind::Directory) {
            (true, false) => Err(EntryProblem::KeepsDirectory(path(), place())),
            (false, true) => Err(EntryProblem::KeepsNonDirectory(path(), place())),
            _ => Ok(()),
        }
    }

    /// The real components of a name of the archive.
    fn path<'a>(&'a self, name: &Name<'a>) -> Vec<&'a [u8]> {
        self.prefix.iter().map(Vec::as_slice).chain(name.components().iter().copied()).collect()
    }
}

/// A path whose first component is another; the root stands in front of all that is in it.
fn renamed(path: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match path.strip_prefix(from) {
        Some(rest) if from == b"/" => [to, b"/", rest].concat(),
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => [to, rest].concat(),
        _ => path.to_vec(),
    }
}

impl Layer {
    fn new(tree: Tree, placement: Option<Placement>) -> Layer {
        let (applied, directory_times) = (Applied::default(), Vec::new());
        let (whiteouts, added) = (Whiteouts::Hide, HashSet::new());
        Layer { tree, placement, whiteouts, added, applied, directory_times }
    }

    fn add<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> EntryResult<()> {
        let name = Name::parse(&entry.path)?;
        if let Some(placement) = &self.placement {
            if name.components().is_empty() {
                // What the archive says of the directory that it is put into is not meant for it.
                let is_directory = entry.kind == Kind::Directory;
                return if is_directory { Ok(()) } else { Err(EntryProblem::RootReplaced(entry.kind)) };
            }
            let path: Vec<Vec<u8>> = placement.path(&name).into_iter().map(<[u8]>::to_vec).collect();
            let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            let (last, parents) = path.split_last().expect("a name that is not the root has components");
            return self.add_entry(parents, last, entry, reader);
        }
        let (parents, last) = match name.role()? {
            Role::Root if entry.kind == Kind::Directory => return self.set_root(entry),
            Role::Root => return Err(EntryProblem::RootReplaced(entry.kind)),
            Role::Foreign => return Ok(()),
            Role::Opaque(path) => {
                return match self.hiding_parent(path)? {
                    Some(directory) if self.whiteouts == Whiteouts::Delete => {
                        self.tree.delete_all(&directory, &self.added)
                    }
                    Some(directory) => self.tree.hide_all(&directory),
                    None => Ok(()),
                };
            }
            Role::Whiteout(parents, hidden) => {
                // Where there is no directory, nothing is to be hidden: it may be a file of this layer by now.
                return match self.hiding_parent(parents)? {
                    Some(parent) if self.whiteouts == Whiteouts::Delete => {
                        self.tree.delete(&parent, hidden, &self.added)
                    }
                    Some(parent) => self.tree.hide(&parent, hidden),
                    None => Ok(()),
                };
            }
            Role::Entry(parents, last) => (parents, last),
        };
        self.add_entry(parents, last, entry, reader)
    }

    fn add_entry<R: BufRead>(
        &mut self,
        parents: &[&[u8]],
        last: &[u8],
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> EntryResult<()> {
        if entry.kind == Kind::CharDevice && entry.device == (0, 0) {
            return Err(EntryProblem::WhiteoutDevice);
        }
        let parent = self.parent(parents)?;
        if let Some(placement) = self.placement.as_ref().filter(|placement| placement.keeps_kinds) {
            placement.check_kind(&parent, last, entry)?;
        }
        if self.whiteouts == Whiteouts::Delete {
            self.note_added(&parent.child_path(last));
        }
        match entry.kind {
            Kind::Directory => self.add_directory(&parent, last, entry),
            Kind::HardLink => self.add_hard_link(&parent, last, entry),
            Kind::File => self.add_file(&parent, last, entry, reader),
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.add_special(&parent, last, entry)
            }
        }
    }

    /// The directory that an entry goes into. What had to be copied up for it gets its times back at the end.
    fn parent(&mut self, parents: &[&[u8]]) -> EntryResult<Rc<Directory>> {
        let parent = self.tree.directory(parents)?;
        self.directory_times.append(&mut self.tree.copied_directories);
        Ok(parent)
    }

    /// Notes that this layer has something, and with it all directories that it is in.
    fn note_added(&mut self, path: &[u8]) {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            if !self.added.contains(&path[..end]) {
                self.added.insert(path[..end].to_vec());
            }
        }
    }

    /// The directory in which something is hidden, if there is one, or may be later.
    fn hiding_parent(&mut self, parents: &[&[u8]]) -> EntryResult<Option<Rc<Directory>>> {
        match self.whiteouts {
            Whiteouts::Keep => self.parent(parents).map(Some),
            Whiteouts::Hide | Whiteouts::Delete => self.existing_parent(parents),
        }
    }

    fn existing_parent(&mut self, parents: &[&[u8]]) -> EntryResult<Option<Rc<Directory>>> {
        let parent = self.tree.existing_directory(parents)?;
        self.directory_times.append(&mut self.tree.copied_directories);
        Ok(parent)
    }

    fn set_root(&mut self, entry: &Entry) -> EntryResult<()> {
        let root = self.tree.root();
        self.applied.skipped_xattrs += Attributes::of(entry)?.set_on(root.upper.as_fd())?;
        self.directory_times.push((Vec::new(), entry.mtime));
        Ok(())
    }

    fn add_directory(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> EntryResult<()> {
        let attributes = Attributes::of(entry)?;
        let way = self.tree.make_way_for_directory(parent, name)?;
        if way != Way::Exists {
            rustix::fs::mkdirat(&parent.upper, name, Mode::RWXU).during("making the directory")?;
        }
        let directory = open_directory(&parent.upper, name).during("opening the directory")?;
        if way == Way::MustHide {
            attributes::make_opaque(directory.as_fd()).during("making it opaque")?;
        }
        self.applied.skipped_xattrs += attributes.set_on(directory.as_fd())?;
        self.directory_times.push((parent.child_path(name), entry.mtime));
        Ok(())
    }

    fn add_file<R: BufRead>(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> EntryResult<()> {
        let attributes = Attributes::of(entry)?;
        self.tree.make_way(parent, name)?;
        let file = create_file(&parent.upper, name)?;
        let mut file = std::fs::File::from(file);
        match &entry.extents {
            None => write_content(&mut file, entry.size, reader)?,
            Some(extents) => write_extents(&mut file, entry.size, extents, reader)?,
        }
        self.applied.size_bytes += entry.size;
        self.applied.skipped_xattrs += attributes.set_on(file.as_fd())?;
        attributes::set_time(file.as_fd(), entry.mtime).during("setting its time")
    }

    fn add_hard_link(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> EntryResult<()> {
        let quoted = || entry.link.clone();
        let target = Name::parse(&entry.link).map_err(|_| EntryProblem::LinkLeavesRoot(quoted()))?;
        let path = match &self.placement {
            Some(placement) => placement.path(&target).into_iter().map(<[u8]>::to_vec).collect(),
            None => target.components().iter().map(|part| part.to_vec()).collect::<Vec<_>>(),
        };
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let Some((target_name, target_parents)) = path.split_last() else {
            return Err(EntryProblem::LinkToDirectory(quoted()));
        };
        let target_parent = self.parent(target_parents)?;
        match self.tree.copy_up(&target_parent, target_name)? {
            None => return Err(EntryProblem::LinkToNothing(quoted())),
            Some(FileType::Directory) => return Err(EntryProblem::LinkToDirectory(quoted())),
            Some(_) => {}
        }
        self.tree.make_way(parent, name)?;
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is one more name of the symbolic link.
        match rustix::fs::linkat(&target_parent.upper, *target_name, &parent.upper, name, AtFlags::empty()) {
            // It was its own target, and made way for itself.
            Err(Errno::NOENT) => Err(EntryProblem::LinkToNothing(quoted())),
            other => other.during("linking"),
        }
    }

    fn add_special(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> EntryResult<()> {
        let attributes = Attributes::of(entry)?;
        self.tree.make_way(parent, name)?;
        let upper = parent.upper.as_fd();
        let (kind, device) = match (entry.kind, entry.device) {
            (Kind::CharDevice, (major, minor)) => (FileType::CharacterDevice, makedev(major, minor)),
            (Kind::BlockDevice, (major, minor)) => (FileType::BlockDevice, makedev(major, minor)),
            (Kind::Fifo, _) => (FileType::Fifo, 0),
            _ => (FileType::Symlink, 0),
        };
        match kind {
            FileType::Symlink => rustix::fs::symlinkat(entry.link.as_slice(), upper, name),
            kind => rustix::fs::mknodat(upper, name, kind, Mode::from_raw_mode(entry.mode), device),
        }
        .during("making it")?;
        let made = open_made(upper, name, kind, device)?;
        self.applied.skipped_xattrs += attributes.set_on_path(made.as_fd())?;
        // The change of owner took set-user-id and set-group-id away. Where files are placed there is no proc(5) by which to
        // give them back, and nothing that they are worth on a device.
        if self.placement.is_none() && kind != FileType::Symlink {
            attributes::set_mode(made.as_fd(), entry.mode).during("changing its mode")?;
        }
        attributes::set_time_on_path(made.as_fd(), entry.mtime).during("setting its time")
    }

    fn finish(self) -> Result<Applied, Errno> {
        for (path, time) in &self.directory_times {
            match self.tree.open_real(path) {
                Ok(directory) => attributes::set_time(directory.as_fd(), *time)?,
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(self.applied)
    }
}

fn create_file(parent: impl AsFd, name: &[u8]) -> EntryResult<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).during("creating the file")
}

/// Opens what was just made, as a path: without the effects that opening a device or a fifo has. What somebody has put in
/// its place since is refused; of the same kind it is as good.
fn open_made(parent: impl AsFd, name: &[u8], kind: FileType, device: u64) -> EntryResult<OwnedFd> {
    const WHAT: &str = "opening what was made";
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty()).during(WHAT)?;
    let stat = rustix::fs::fstat(&made).during(WHAT)?;
    match FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == device {
        true => Ok(made),
        false => Err(EntryProblem::Replaced),
    }
}

pub(crate) fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn write_content<R: BufRead>(
    file: &mut std::fs::File,
    length: u64,
    reader: &mut Reader<R>,
) -> EntryResult<()> {
    let mut remaining = length;
    while remaining > 0 {
        let bytes = reader.content().map_err(EntryProblem::Tar)?;
        if bytes.is_empty() {
            return Err(EntryProblem::Write(io::ErrorKind::UnexpectedEof.into()));
        }
        let step = bytes.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        file.write_all(&bytes[..step]).map_err(EntryProblem::Write)?;
        reader.consume(step);
        remaining -= step as u64;
    }
    Ok(())
}

/// The reader has checked that the extents lie within the file and add up to its content.
fn write_extents<R: BufRead>(
    file: &mut std::fs::File,
    size: u64,
    extents: &[Extent],
    reader: &mut Reader<R>,
) -> EntryResult<()> {
    rustix::fs::ftruncate(&*file, size).during("setting its size")?;
    for extent in extents {
        rustix::fs::seek(&*file, rustix::fs::SeekFrom::Start(extent.offset)).during("seeking in it")?;
        write_content(file, extent.length, reader)?;
    }
    Ok(())
}

/// What is there under a name, without following it.
pub(crate) fn look(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(parent, name, no_follow()) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
