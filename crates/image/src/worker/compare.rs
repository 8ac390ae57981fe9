//! Packing what makes one tree into another: both are walked side by side, as containerd's walking differ does.
//!
//! | in the left tree | in the right tree | in the layer |
//! |---|---|---|
//! | something | nothing, or a socket | `.wh.` and the name |
//! | nothing, or something that differs | something | it, with the directories that it is in |
//! | a directory | a directory | it, if owner, mode or attributes differ; in any case what is in them is compared |
//! | something | the same | nothing, unless another name of the same file is written: then a hard link |
//!
//! Files are the same if owner, mode, attributes, size and time of change are. A time in whole seconds may have been cut by an
//! archive, so then the content must be the same, too. Names of one file must be names of one file on the other side.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::diff::{DiffError, clamp, refuse_mark, whiteout};
use super::merged::{Merged, Shown, open_file, refuse_elsewhere};
use super::protocol::{Outcome, Packing, Refusal};
use crate::pack::{Form, Found, PackError, Packer, kind_of, xattrs};
use crate::tar::{Entry, Kind, MAX_ENTRIES, Time};

const BUFFER_SIZE: usize = 256 << 10;
/// Each level holds the descriptors of its layers. Deeper than any path that the kernel takes (`PATH_MAX`).
const MAX_DEPTH: usize = 2048;

/// The layers of two trees, topmost first, by their positions among the lower directories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) left: Vec<usize>,
    pub(crate) right: Vec<usize>,
}

/// Writes to `output`, without compression, what makes the left tree into the right one.
pub(super) fn compare(
    output: OwnedFd,
    layers: &[OwnedFd],
    comparison: &Comparison,
    packing: Packing,
) -> Result<Outcome, Refusal> {
    let tree = |positions: &[usize]| {
        let layers: Option<Vec<_>> = positions.iter().map(|at| layers.get(*at).map(AsFd::as_fd)).collect();
        Merged::root(&layers.ok_or(Errno::INVAL)?)
    };
    let root = |positions| tree(positions).map_err(DiffError::Open);
    let (left, right) = (root(&comparison.left)?, root(&comparison.right)?);
    let output = BufWriter::with_capacity(BUFFER_SIZE, File::from(output));
    Ok(pack(output, left, right, packing).map_err(DiffError::Pack)?)
}

fn pack(output: impl Write, left: Merged, right: Merged, packing: Packing) -> Result<Outcome, PackError> {
    let mut translate = |mut entry: Entry, found: &Found<'_>| {
        clamp(&mut entry, packing);
        refuse_mark(&entry)?;
        found.file.map_or(Ok(()), refuse_elsewhere)?;
        Ok(Form::Entry(entry))
    };
    let mut walk = Walk {
        packer: Packer::new(output, &mut translate),
        levels: vec![Level::open(left, right, Vec::new(), true)?],
        identities: Identities::default(),
        unwritten: HashMap::new(),
        names: 0,
        buffers: [vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]],
    };
    while let Some(level) = walk.levels.last_mut() {
        match level.names.pop() {
            Some(name) => walk.name(&name)?,
            None => drop(walk.levels.pop()),
        }
    }
    let packed = walk.packer.finish()?;
    Ok(Outcome { entries: packed.entries, size_bytes: packed.size_bytes, ..Outcome::default() })
}

/// Device and inode.
type Inode = (u64, u64);

struct Walk<'a, W> {
    packer: Packer<'a, W>,
    levels: Vec<Level>,
    identities: Identities,
    /// Names of files that need not be written, as long as no other name of theirs is.
    unwritten: HashMap<Inode, Vec<Vec<u8>>>,
    names: u64,
    buffers: [Vec<u8>; 2],
}

/// A directory of both trees.
struct Level {
    left: Merged,
    right: Merged,
    /// The last one comes first.
    names: Vec<Vec<u8>>,
    /// What stands before its names.
    prefix: Vec<u8>,
    /// Its own entry is in the archive; the root has none.
    is_written: bool,
}

/// Which files of the left tree, of those with several names, are which of the right one.
#[derive(Default)]
struct Identities {
    of_left: HashMap<Inode, Inode>,
    of_right: HashMap<Inode, Inode>,
}

/// What to do about a name.
enum Step {
    Nothing,
    Whiteout,
    /// A directory; whether it differs.
    Enter(Merged, Merged, bool),
    Write,
    /// It is the same.
    Keep(Stat),
}

impl<W: Write> Walk<'_, W> {
    fn name(&mut self, name: &[u8]) -> Result<(), PackError> {
        self.names += 1;
        if self.names > MAX_ENTRIES {
            return Err(PackError::TooManyFiles);
        }
        let level = self.levels.last().expect("a name is in a directory");
        let mut path = [&level.prefix[..], name].concat();
        let step = step(level, name, &mut self.identities, &mut self.buffers);
        match step.map_err(|source| PackError::File { path: path.clone(), what: "comparing it", source })? {
            Step::Nothing => Ok(()),
            Step::Whiteout => {
                self.write_parents()?;
                // There is nothing whose time it could have.
                self.packer.mark(&whiteout(&path, Time::default()))
            }
            Step::Enter(left, right, differs) => {
                path.push(b'/');
                if differs && let Some(top) = right.top() {
                    self.write_parents()?;
                    self.packer.directory(top, &path)?;
                }
                if self.levels.len() == MAX_DEPTH {
                    return Err(PackError::TooDeep(path));
                }
                self.levels.push(Level::open(left, right, path, differs)?);
                Ok(())
            }
            Step::Write => self.write(name, &path),
            Step::Keep(stat) if stat.st_nlink == 1 => Ok(()),
            Step::Keep(stat) if self.packer.has_written(&stat) => self.write(name, &path),
            Step::Keep(stat) => {
                self.unwritten.entry((stat.st_dev, stat.st_ino)).or_default().push(path);
                Ok(())
            }
        }
    }

    /// Writes what the right tree has under a name that is no directory, and makes its other names links to it.
    fn write(&mut self, name: &[u8], path: &[u8]) -> Result<(), PackError> {
        self.write_parents()?;
        let level = self.levels.last().expect("a name is in a directory");
        let failed = |source| PackError::File { path: path.to_vec(), what: "looking at it", source };
        let Shown::Other(layer, stat) = level.right.child(name).map_err(failed)? else { return Ok(()) };
        self.packer.child(layer, name, &mut path.to_vec())?;
        if stat.st_nlink > 1 && self.packer.has_written(&stat) {
            for other in self.unwritten.remove(&(stat.st_dev, stat.st_ino)).unwrap_or_default() {
                self.packer.link(&other, &stat)?;
            }
        }
        Ok(())
    }

    /// Writes the directories that the next entry is in, as far as they are not.
    fn write_parents(&mut self) -> Result<(), PackError> {
        for level in self.levels.iter_mut().filter(|level| !level.is_written) {
            level.is_written = true;
            if let Some(top) = level.right.top() {
                self.packer.directory(top, &level.prefix)?;
            }
        }
        Ok(())
    }
}

impl Level {
    fn open(left: Merged, right: Merged, prefix: Vec<u8>, is_written: bool) -> Result<Level, PackError> {
        let names = || -> rustix::io::Result<Vec<Vec<u8>>> {
            let mut names = right.names()?;
            names.append(&mut left.names()?);
            Ok(names.into_iter().rev().collect())
        };
        match names() {
            Ok(names) => Ok(Level { left, right, names, prefix, is_written }),
            Err(source) => Err(PackError::File { path: prefix, what: "listing it", source }),
        }
    }
}

impl Identities {
    /// Whether two files may be the same: no other name says anything else.
    fn agree(&mut self, left: &Stat, right: &Stat) -> bool {
        if left.st_nlink == 1 && right.st_nlink == 1 {
            return true;
        }
        let (left, right) = ((left.st_dev, left.st_ino), (right.st_dev, right.st_ino));
        let is_right = *self.of_left.entry(left).or_insert(right) == right;
        is_right && *self.of_right.entry(right).or_insert(left) == left
    }
}

fn step(
    level: &Level,
    name: &[u8],
    identities: &mut Identities,
    buffers: &mut [Vec<u8>; 2],
) -> rustix::io::Result<Step> {
    let is_socket = |stat: &Stat| kind_of(stat).is_none();
    Ok(match (level.left.child(name)?, level.right.child(name)?) {
        (Shown::Nothing, Shown::Nothing) => Step::Nothing,
        (Shown::Other(_, left), Shown::Other(_, right)) if is_socket(&left) && is_socket(&right) => {
            Step::Nothing
        }
        (Shown::Nothing, Shown::Other(_, right)) if is_socket(&right) => Step::Nothing,
        // No archive has sockets.
        (_, Shown::Other(_, right)) if is_socket(&right) => Step::Whiteout,
        (_, Shown::Nothing) => Step::Whiteout,
        (Shown::Directory(left), Shown::Directory(right)) => {
            let differs = !are_same_directories(&left, &right)?;
            Step::Enter(left, right, differs)
        }
        (_, Shown::Directory(right)) => Step::Enter(Merged::default(), right, true),
        (Shown::Other(left_layer, left), Shown::Other(right_layer, right)) => {
            let files = [(left_layer, &left), (right_layer, &right)];
            // First what is known of them: it must be noted of any two that are the same.
            match are_same(files, name, buffers)? && identities.agree(&left, &right) {
                true => Step::Keep(right),
                false => Step::Write,
            }
        }
        (_, Shown::Other(..)) => Step::Write,
    })
}

fn are_same_directories(left: &Merged, right: &Merged) -> rustix::io::Result<bool> {
    let (Some(left), Some(right)) = (left.top(), right.top()) else { return Ok(false) };
    let (left_stat, right_stat) = (rustix::fs::fstat(left)?, rustix::fs::fstat(right)?);
    Ok(is_same_inode(&left_stat, &right_stat)
        || has_same_owner_and_mode(&left_stat, &right_stat) && xattrs(left)? == xattrs(right)?)
}

/// Compares what is no directory.
fn are_same(
    files: [(BorrowedFd<'_>, &Stat); 2],
    name: &[u8],
    buffers: &mut [Vec<u8>; 2],
) -> rustix::io::Result<bool> {
    let [(left_layer, left), (right_layer, right)] = files;
    if is_same_inode(left, right) {
        return Ok(true);
    }
    let seen = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if !has_same_owner_and_mode(left, right) || seen(left) != seen(right) {
        return Ok(false);
    }
    match kind_of(right) {
        Some(Kind::File) => {}
        Some(Kind::Symlink) => {
            let target = |layer| rustix::fs::readlinkat(layer, name, Vec::new());
            return Ok(target(left_layer)? == target(right_layer)?);
        }
        _ => return Ok(true),
    }
    let (left_file, right_file) = match (open_file(left_layer, name), open_file(right_layer, name)) {
        (Ok(left), Ok(right)) => (left, right),
        // One has become something else, or nothing: whoever writes it will see.
        (Err(Errno::NOENT | Errno::LOOP | Errno::NXIO), _)
        | (_, Err(Errno::NOENT | Errno::LOOP | Errno::NXIO)) => {
            return Ok(false);
        }
        (Err(errno), _) | (_, Err(errno)) => return Err(errno),
    };
    refuse_elsewhere(left_file.as_fd())?;
    refuse_elsewhere(right_file.as_fd())?;
    if xattrs(left_file.as_fd())? != xattrs(right_file.as_fd())? {
        return Ok(false);
    }
    if right.st_mtime_nsec != 0 || right.st_size == 0 {
        return Ok(true);
    }
    have_same_content(left_file.into(), right_file.into(), buffers)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn has_same_owner_and_mode(left: &Stat, right: &Stat) -> bool {
    let seen = |stat: &Stat| {
        let is_device = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        (stat.st_mode, stat.st_uid, stat.st_gid, if is_device { stat.st_rdev } else { 0 })
    };
    seen(left) == seen(right)
}

fn is_same_inode(left: &Stat, right: &Stat) -> bool {
    (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)
}

fn have_same_content(mut left: File, mut right: File, buffers: &mut [Vec<u8>; 2]) -> io::Result<bool> {
    let [left_buffer, right_buffer] = buffers;
    loop {
        let length = read(&mut left, left_buffer)?;
        if length != read(&mut right, right_buffer)? || left_buffer[..length] != right_buffer[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
