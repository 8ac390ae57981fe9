//! Writes the files of a tree into an archive: what the worker does with a container's files.
//!
//! The tree belongs to somebody else, who may change it meanwhile. It is walked by descriptors, no symbolic link is
//! followed, and what was a file when it was looked at is read only if it still is one. What vanishes in between is left
//! out. As Docker writes them: names in a directory in the order of their bytes, times in whole seconds, sockets left
//! out, files with several names once and their other names as hard links, holes as zeros.
//!
//! A [`Translation`] decides what an entry becomes: the layers of images have marks where an overlay has special files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::apply::{look, open_directory};
use crate::tar::{Entry, Kind, MAX_ENTRIES, Quoted, Time, Writer, Xattr};

/// Each level holds a descriptor and its names. Deeper than any path that the kernel takes (`PATH_MAX`).
const MAX_DEPTH: usize = 2048;
/// Pieces that files are read in.
const BUFFER_SIZE: usize = 256 << 10;
/// The kernel's own bounds of a list of attributes and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_XATTR_SIZE: usize = 65_536;

/// Attributes that mean the same on every machine. Those of the overlay and of policies of the host do not.
const KEPT_XATTRS: [&[u8]; 2] = [b"security.capability", b"user."];
const OVERLAY_XATTRS: &[u8] = b"user.overlay.";

/// What was found under a name.
pub(crate) struct Found<'a> {
    /// Open if it is a directory or a regular file.
    pub(crate) file: Option<BorrowedFd<'a>>,
}

/// What becomes of what was found.
#[allow(dead_code, reason = "files are packed as they are; layers have marks")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Neither it nor anything below it is written.
    Nothing,
    Entry(Entry),
    /// It, and another entry (without content) right after it.
    Marked(Entry, Entry),
}

/// Decides what is written of a file, knowing what would be without it.
pub(crate) type Translation<'a> = &'a mut dyn FnMut(Entry, &Found<'_>) -> rustix::io::Result<Form>;

/// The translation that changes nothing.
pub(crate) fn as_it_is(entry: Entry, _found: &Found<'_>) -> rustix::io::Result<Form> {
    Ok(Form::Entry(entry))
}

/// Why a tree was not packed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("{}: {what}", Quoted(path))]
    File {
        path: Vec<u8>,
        what: &'static str,
        #[source]
        source: Errno,
    },
    #[error("{}: its content cannot be read", Quoted(path))]
    Read {
        path: Vec<u8>,
        #[source]
        source: io::Error,
    },
    #[error("{}: directories are nested too deeply", Quoted(.0))]
    TooDeep(Vec<u8>),
    #[error("more than {MAX_ENTRIES} files")]
    TooManyFiles,
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

/// Writes trees and files into one archive.
pub(crate) struct Packer<'a, W> {
    writer: Writer<W>,
    translate: Translation<'a>,
    /// Device and inode of files with several names, and the name that has the content.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    packed: Packed,
}

/// What was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) size_bytes: u64,
}

/// A directory whose names are being written.
struct Level {
    directory: OwnedFd,
    /// The last one comes first.
    names: Vec<Vec<u8>>,
    /// What stands before its names.
    prefix: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    pub(crate) fn new(output: W, translate: Translation<'a>) -> Packer<'a, W> {
        Packer {
            writer: Writer::new(output),
            translate,
            links: HashMap::new(),
            buffer: vec![0; BUFFER_SIZE],
            packed: Packed::default(),
        }
    }

    /// Writes a directory with all that is in it. Its own entry is called `prefix`, which ends with a slash, and all
    /// others begin with it; with an empty prefix it has none.
    pub(crate) fn tree(&mut self, directory: OwnedFd, prefix: &[u8]) -> Result<(), PackError> {
        if !prefix.is_empty() {
            let failed = |source| PackError::File { path: prefix.to_vec(), what: "looking at it", source };
            let stat = rustix::fs::fstat(&directory).map_err(failed)?;
            if !self.found(prefix, &stat, Some(directory.as_fd()), Kind::Directory)? {
                return Ok(());
            }
        }
        let mut levels = vec![Level::open(directory, prefix.to_vec())?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let mut path = [&level.prefix[..], &name].concat();
            if let Some(child) = self.child(level.directory.as_fd(), &name, &mut path)? {
                if levels.len() == MAX_DEPTH {
                    return Err(PackError::TooDeep(path));
                }
                levels.push(Level::open(child, path)?);
            }
        }
        Ok(())
    }

    /// Writes what a directory has under a name, as `path`. A directory gets a slash behind its path and is returned:
    /// what is in it was not written.
    pub(crate) fn child(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
    ) -> Result<Option<OwnedFd>, PackError> {
        let failed = |path: &[u8], what, source| PackError::File { path: path.to_vec(), what, source };
        let Some(stat) = look(parent, name).map_err(|errno| failed(path, "looking at it", errno))? else {
            return Ok(None);
        };
        let Some(kind) = kind_of(&stat) else { return Ok(None) };
        let opened = match kind {
            Kind::Directory => open_directory(parent, name),
            Kind::File => open_file(parent, name),
            _ => {
                return self.special(parent, name, path, &stat).map(|()| None);
            }
        };
        let file = match opened {
            Ok(file) => file,
            // It has become something else, or nothing.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(failed(path, "opening it", errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed(path, "looking at it", errno))?;
        if kind_of(&stat) != Some(kind) {
            return Ok(None);
        }
        if kind == Kind::File {
            self.found(path, &stat, Some(file.as_fd()), kind)?;
            return Ok(None);
        }
        path.push(b'/');
        Ok(self.found(path, &stat, Some(file.as_fd()), kind)?.then_some(file))
    }

    /// Writes the entry of a directory alone; its path ends with a slash.
    pub(crate) fn directory(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<(), PackError> {
        let failed = |source| PackError::File { path: path.to_vec(), what: "looking at it", source };
        let stat = rustix::fs::fstat(directory).map_err(failed)?;
        self.found(path, &stat, Some(directory), Kind::Directory).map(drop)
    }

    /// Writes an entry that is no file's.
    pub(crate) fn mark(&mut self, entry: &Entry) -> Result<(), PackError> {
        self.begin(entry)
    }

    /// Writes one more name of a file that [`Packer::has_written`].
    pub(crate) fn link(&mut self, path: &[u8], stat: &Stat) -> Result<(), PackError> {
        let entry = entry(path, stat, kind_of(stat).unwrap_or(Kind::File));
        self.write(entry, stat, &Found { file: None }).map(drop)
    }

    /// Whether a file with several names has been written under one of them.
    pub(crate) fn has_written(&self, stat: &Stat) -> bool {
        self.links.contains_key(&(stat.st_dev, stat.st_ino))
    }

    /// Writes the end of the archive.
    pub(crate) fn finish(self) -> Result<Packed, PackError> {
        self.writer.finish().map_err(PackError::Write)?;
        Ok(self.packed)
    }

    /// Writes what is not opened: a link, a device, a fifo.
    fn special(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), PackError> {
        let mut entry = entry(path, stat, kind_of(stat).unwrap_or(Kind::Fifo));
        if entry.kind == Kind::Symlink {
            entry.link = match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(source) => {
                    return Err(PackError::File { path: path.to_vec(), what: "reading the link", source });
                }
            };
        }
        self.write(entry, stat, &Found { file: None }).map(drop)
    }

    /// Writes a directory's or a file's entry; whether anything was.
    fn found(
        &mut self,
        path: &[u8],
        stat: &Stat,
        file: Option<BorrowedFd<'_>>,
        kind: Kind,
    ) -> Result<bool, PackError> {
        let mut entry = entry(path, stat, kind);
        if let Some(file) = file {
            let failed =
                |source| PackError::File { path: path.to_vec(), what: "reading its attributes", source };
            entry.xattrs = xattrs(file).map_err(failed)?;
        }
        self.write(entry, stat, &Found { file })
    }

    fn write(&mut self, entry: Entry, stat: &Stat, found: &Found<'_>) -> Result<bool, PackError> {
        let path = entry.path.clone();
        let translated = (self.translate)(entry, found);
        let form = translated.map_err(|source| PackError::File { path, what: "looking at it", source })?;
        let (mut entry, mark) = match form {
            Form::Nothing => return Ok(false),
            Form::Entry(entry) => (entry, None),
            Form::Marked(entry, mark) => (entry, Some(mark)),
        };
        if stat.st_nlink > 1 && entry.kind != Kind::Directory {
            match self.links.get(&(stat.st_dev, stat.st_ino)) {
                Some(first) => {
                    (entry.kind, entry.link, entry.size) = (Kind::HardLink, first.clone(), 0);
                    entry.xattrs.clear();
                }
                None => drop(self.links.insert((stat.st_dev, stat.st_ino), entry.path.clone())),
            }
        }
        self.begin(&entry)?;
        if entry.kind == Kind::File
            && let Some(file) = found.file
        {
            self.content(&entry.path, file)?;
            self.packed.size_bytes += entry.size;
        }
        match mark {
            Some(mark) => self.begin(&mark).map(|()| true),
            None => Ok(true),
        }
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), PackError> {
        if self.packed.entries == MAX_ENTRIES {
            return Err(PackError::TooManyFiles);
        }
        self.packed.entries += 1;
        self.writer.entry(entry).map_err(PackError::Write)
    }

    fn content(&mut self, path: &[u8], file: BorrowedFd<'_>) -> Result<(), PackError> {
        let failed = |source: io::Error| PackError::Read { path: path.to_vec(), source };
        let mut file = std::fs::File::from(file.try_clone_to_owned().map_err(failed)?);
        while self.writer.remaining() > 0 {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => drop(self.writer.content(&self.buffer[..length]).map_err(PackError::Write)?),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

impl Level {
    fn open(directory: OwnedFd, prefix: Vec<u8>) -> Result<Level, PackError> {
        match sorted_names(directory.as_fd()) {
            Ok(mut names) => {
                names.reverse();
                Ok(Level { directory, names, prefix })
            }
            Err(source) => Err(PackError::File { path: prefix, what: "listing it", source }),
        }
    }
}

/// The names in a directory in the order of their bytes.
fn sorted_names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A fifo that took the file's place must not block.
fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What an archive calls it; nothing for a socket, which no archive has.
pub(crate) fn kind_of(stat: &Stat) -> Option<Kind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return None,
    })
}

fn entry(path: &[u8], stat: &Stat, kind: Kind) -> Entry {
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Entry {
        path: path.to_vec(),
        kind,
        size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds: 0 },
        link: Vec::new(),
        device: if is_device {
            (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        } else {
            (0, 0)
        },
        xattrs: Vec::new(),
        extents: None,
    }
}

/// Its attributes, as far as archives have them.
pub(crate) fn xattrs(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<Xattr>> {
    // Nearly no file has any: the length is asked first.
    if matches!(rustix::fs::flistxattr_query(file), Ok(0) | Err(Errno::OPNOTSUPP)) {
        return Ok(Vec::new());
    }
    let mut names = vec![0; MAX_XATTR_SIZE];
    let length = rustix::fs::flistxattr(file, &mut names[..])?;
    let mut value = vec![0; MAX_XATTR_SIZE];
    let mut xattrs = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| is_kept(name)) {
        match rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value[..]) {
            Ok(length) => xattrs.push(Xattr { name: name.to_vec(), value: value[..length].to_vec() }),
            // It was removed since.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(xattrs)
}

/// A pax record ends its key at the first `=`, so a name with one cannot be written.
fn is_kept(name: &[u8]) -> bool {
    KEPT_XATTRS.iter().any(|prefix| name.starts_with(prefix))
        && !name.starts_with(OVERLAY_XATTRS)
        && !name.contains(&b'=')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;
    use crate::tar::Reader;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn packed(path: &Path, prefix: &str, translate: Translation<'_>) -> Vec<Entry> {
        let mut archive = Vec::new();
        let mut packer = Packer::new(&mut archive, translate);
        packer.tree(open(path), prefix.as_bytes()).unwrap();
        packer.finish().unwrap();
        let mut reader = Reader::new(&archive[..]);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            entries.push(entry);
        }
        entries
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    }

    #[test]
    fn a_tree_is_packed_as_docker_packs_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/b"), "text").unwrap();
        fs::write(at("d.x"), "").unwrap();
        fs::hard_link(at("d/b"), at("d/a")).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(at("d/a"), "security.capability", &value, rustix::fs::XattrFlags::empty())
            .unwrap();
        let entries = packed(folder.path(), "e/", &mut as_it_is);
        assert_eq!(names(&entries), ["e/", "e/d/", "e/d/a", "e/d/b", "e/d.x", "e/link"]);
        let (first, second) = (&entries[2], &entries[3]);
        assert_eq!((first.kind, first.size), (Kind::File, 4));
        assert_eq!(first.xattrs, [Xattr { name: b"security.capability".into(), value: value.into() }]);
        assert_eq!((second.kind, &second.link[..]), (Kind::HardLink, &b"e/d/a"[..]));
        assert_eq!((entries[5].kind, &entries[5].link[..]), (Kind::Symlink, &b"/etc/passwd"[..]));
        assert_eq!(names(&packed(folder.path(), "", &mut as_it_is))[0], "d/");
        assert_eq!(names(&packed(folder.path(), "/", &mut as_it_is))[..2], ["/", "/d/"]);
    }

    #[test]
    fn a_translation_decides_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["gone", "kept", "marked"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("x"), "1").unwrap();
        }
        let mut translate = |entry: Entry, found: &Found<'_>| {
            Ok(match &entry.path[..] {
                b"gone/" => Form::Nothing,
                b"marked/" => {
                    assert!(found.file.is_some());
                    let mark =
                        Entry { path: b"marked/.m".into(), kind: Kind::File, size: 0, ..entry.clone() };
                    Form::Marked(entry, mark)
                }
                _ => Form::Entry(entry),
            })
        };
        let entries = packed(folder.path(), "", &mut translate);
        assert_eq!(names(&entries), ["kept/", "kept/x", "marked/", "marked/.m", "marked/x"]);
    }

    #[test]
    fn trees_deeper_than_any_path_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = open(folder.path());
        for _ in 0..=MAX_DEPTH {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = open_directory(&directory, b"d").unwrap();
        }
        let mut translate = as_it_is;
        let mut packer = Packer::new(io::sink(), &mut translate);
        let error = packer.tree(open(folder.path()), b"").unwrap_err();
        assert!(matches!(error, PackError::TooDeep(_)), "{error}");
        // Deeper than remove_dir_all is asked to be: it is moved up piece by piece.
        drop(std::process::Command::new("rm").arg("-rf").arg(folder.path()).status());
    }
}
