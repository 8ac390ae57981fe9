//! What the worker does with a container's files: look at one, write some into an archive, put an archive's among them.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use api::code::Code;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::confine::{self, PACK_CAPABILITIES, PLACE_CAPABILITIES, Rights};
use super::protocol::{Outcome, Refusal, errno_code, io_code};
use super::view::{self, ViewRequest};
use crate::apply::{ApplyError, EntryProblem, Placement};
use crate::compression::{Decoder, ExpansionLimits};
use crate::files::{Access, FileStat, PlaceOptions};
use crate::pack::{self, PackError, Packer};
use crate::tar::{Quoted, Reader};

/// What a pipe takes at once, several times.
const BUFFER_SIZE: usize = 256 << 10;
/// As many as the kernel follows in one path (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// What to do with which files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesRequest {
    pub(crate) view: ViewRequest,
    pub(crate) action: Action,
}

/// What to do. Paths start from the container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Write all of it.
    Export,
    /// Write what is at a path.
    Pack { path: String },
    /// Put files into a directory.
    Place { path: String, options: PlaceOptions },
    /// Look at a path.
    Stat { path: String },
}

/// Why nothing was done with a container's files.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error("extraction point is not a directory")]
    NotADirectory,
    #[error("{what} {}", Quoted(path.as_bytes()))]
    Path {
        what: &'static str,
        path: String,
        #[source]
        source: Errno,
    },
    #[error("the archive cannot be read")]
    Read(#[source] std::io::Error),
    #[error("container rootfs is marked read-only")]
    ReadOnlyRoot,
    #[error("mounted volume is marked read-only")]
    ReadOnlyVolume,
    #[error(transparent)]
    User(runtime::user::Error),
    #[error("the container's files cannot be mounted")]
    View(#[source] Errno),
}

impl From<FilesError> for Refusal {
    fn from(error: FilesError) -> Refusal {
        let code = match &error {
            FilesError::Path { source: Errno::NOENT | Errno::NOTDIR, .. } => Code::NotFound,
            FilesError::Path { source, .. } => errno_code(*source),
            FilesError::Read(source) => io_code(source),
            FilesError::NotADirectory | FilesError::ReadOnlyRoot | FilesError::ReadOnlyVolume => {
                Code::InvalidArgument
            }
            FilesError::User(error) => error.code(),
            FilesError::View(_) => Code::Internal,
        };
        Refusal::new(code, &error)
    }
}

impl From<PackError> for Refusal {
    fn from(error: PackError) -> Refusal {
        let code = match &error {
            PackError::File { source, .. } => errno_code(*source),
            PackError::Read { source, .. } | PackError::Write(source) => io_code(source),
            PackError::TooDeep(_) | PackError::TooManyFiles => Code::InvalidArgument,
        };
        Refusal::new(code, &error)
    }
}

/// Does what is asked. `found` is told what a path leads to before anything of it is written.
pub(super) fn perform(
    request: FilesRequest,
    stream: OwnedFd,
    root: OwnedFd,
    mounts: Vec<OwnedFd>,
    found: &mut dyn FnMut(FileStat),
) -> Result<Outcome, Refusal> {
    let FilesRequest { view, action } = request;
    let root = view::enter(&view, root, mounts).map_err(FilesError::View)?;
    let mut owner = None;
    let (capabilities, is_writing) = match &action {
        Action::Place { options, .. } => {
            // As at every start of the container; its files name whom a number belongs to.
            if let Some(user) = &options.owner {
                let identity = runtime::user::resolve(root.as_fd(), user, &[]).map_err(FilesError::User)?;
                owner = Some((identity.uid, identity.gid));
            }
            (PLACE_CAPABILITIES, true)
        }
        Action::Export | Action::Pack { .. } | Action::Stat { .. } => (PACK_CAPABILITIES, false),
    };
    view::leave_all_else(root.as_fd()).map_err(FilesError::View)?;
    let directory = Some(root.as_fd());
    let rights = Rights {
        capabilities,
        writable: directory.filter(|_| is_writing),
        readable: directory.filter(|_| !is_writing).into_iter().collect(),
    };
    confine::confine(&rights).map_err(Refusal::confinement)?;
    match action {
        Action::Export => export(root.as_fd(), stream),
        Action::Pack { path } => pack_path(root.as_fd(), &path, stream, found),
        Action::Place { path, options } => {
            let prefix = place_of(root.as_fd(), &path, &view)?;
            place(
                root,
                Placement { prefix, keeps_kinds: options.keeps_kinds, owner, ..Placement::default() },
                stream,
            )
        }
        Action::Stat { path } => {
            found(look_at(root.as_fd(), &path)?);
            Ok(Outcome::default())
        }
    }
}

fn export(root: BorrowedFd<'_>, output: OwnedFd) -> Result<Outcome, Refusal> {
    let directory = open(root, "/", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut translate = pack::as_it_is;
    let mut packer = Packer::new(BufWriter::with_capacity(BUFFER_SIZE, File::from(output)), &mut translate);
    packer.tree(directory, b"")?;
    finish(packer)
}

/// As Docker names the entries: a directory by its last name and everything below it; all else by its last name.
fn pack_path(
    root: BorrowedFd<'_>,
    path: &str,
    output: OwnedFd,
    found: &mut dyn FnMut(FileStat),
) -> Result<Outcome, Refusal> {
    let stat = look_at(root, path)?;
    let is_directory = FileType::from_raw_mode(stat.mode) == FileType::Directory;
    let mut translate = pack::as_it_is;
    let mut packer = Packer::new(BufWriter::with_capacity(BUFFER_SIZE, File::from(output)), &mut translate);
    let (parent, name) = split(path);
    if is_directory {
        let directory = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        found(stat);
        let prefix = if name.is_empty() { "/".to_owned() } else { format!("{name}/") };
        packer.tree(directory, prefix.as_bytes())?;
    } else {
        let parent = open(root, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        found(stat);
        packer.child(parent.as_fd(), name.as_bytes(), &mut name.as_bytes().to_vec())?;
    }
    finish(packer)
}

fn finish<W: std::io::Write>(packer: Packer<'_, W>) -> Result<Outcome, Refusal> {
    let packed = packer.finish()?;
    Ok(Outcome { entries: packed.entries, size_bytes: packed.size_bytes, ..Outcome::default() })
}

fn place(root: OwnedFd, placement: Placement, input: OwnedFd) -> Result<Outcome, Refusal> {
    let decoder = Decoder::new(File::from(input), ExpansionLimits::default()).map_err(FilesError::Read)?;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_SIZE, decoder));
    let applied = crate::apply::place(&mut reader, root, placement).map_err(|error| match error {
        // In Docker's words, which name the path themselves.
        ApplyError::Entry {
            problem: problem @ (EntryProblem::KeepsDirectory(..) | EntryProblem::KeepsNonDirectory(..)),
            ..
        } => Refusal::new(Code::InvalidArgument, &problem),
        ApplyError::Tar(error) => error.into(),
        error => error.into(),
    })?;
    // So that whoever writes it can write all of it.
    std::io::copy(&mut reader.into_inner(), &mut std::io::sink()).map_err(FilesError::Read)?;
    Ok(Outcome { entries: applied.entries, size_bytes: applied.size_bytes, ..Outcome::default() })
}

/// Where files are put: the real components of the directory's path, if it may be written to.
fn place_of(root: BorrowedFd<'_>, path: &str, view: &ViewRequest) -> Result<Vec<Vec<u8>>, FilesError> {
    let found = open(root, path, OFlags::PATH)?;
    let failed = |source| FilesError::Path { what: "cannot look at", path: path.to_owned(), source };
    let stat = rustix::fs::fstat(&found).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(FilesError::NotADirectory);
    }
    let components = resolve(root, path).map_err(failed)?;
    let real = String::from_utf8_lossy(&joined(&components)).into_owned();
    let is_below = |target: &str| {
        real.strip_prefix(target.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mount =
        view.mounts.iter().filter(|mount| is_below(&mount.target)).max_by_key(|mount| mount.target.len());
    match (mount.map(|mount| mount.access), view.root_access) {
        (Some(Access::ReadOnly), _) => Err(FilesError::ReadOnlyVolume),
        (None, Access::ReadOnly) => Err(FilesError::ReadOnlyRoot),
        (Some(Access::Writable), _) | (None, Access::Writable) => Ok(components),
    }
}

/// What a path leads to. A link at its end is followed only if the path says that it is a directory.
fn look_at(root: BorrowedFd<'_>, path: &str) -> Result<FileStat, FilesError> {
    let failed = |source| FilesError::Path { what: "cannot look at", path: path.to_owned(), source };
    let follows = path.ends_with('/') || path.ends_with("/.");
    let flags = if follows { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::PATH | OFlags::NOFOLLOW };
    let file = open(root, path, flags)?;
    let stat: Stat = rustix::fs::fstat(&file).map_err(failed)?;
    let link_target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => joined(&resolve(root, path).map_err(failed)?),
        _ => Vec::new(),
    };
    Ok(FileStat {
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime_s: stat.st_mtime,
        // The kernel never gives a second's worth of nanoseconds.
        mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        link_target: String::from_utf8_lossy(&link_target).into_owned(),
    })
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, FilesError> {
    let failed = |source| FilesError::Path { what: "cannot open", path: path.to_owned(), source };
    // An empty path is the root, as in Docker.
    let rooted = CString::new(format!("/{path}")).map_err(|_| failed(Errno::INVAL))?;
    linux::path::open_in_root(root, &rooted, flags).map_err(failed)
}

/// The real components of a path: every link in it resolved, as far as there is something.
fn resolve(root: BorrowedFd<'_>, path: &str) -> Result<Vec<Vec<u8>>, Errno> {
    let parts = |path: &[u8]| path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut rest = VecDeque::from(parts(path.as_bytes()));
    let mut walked: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => drop(walked.pop()),
            _ => walked.push(part),
        }
        let here = CString::new(joined(&walked)).map_err(|_| Errno::INVAL)?;
        let Ok(found) = linux::path::open_in_root(root, &here, OFlags::PATH | OFlags::NOFOLLOW) else {
            continue;
        };
        let Ok(target) = rustix::fs::readlinkat(&found, c"", Vec::new()) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        walked.pop();
        if target.as_bytes().starts_with(b"/") {
            walked.clear();
        }
        parts(target.as_bytes()).into_iter().rev().for_each(|part| rest.push_front(part));
    }
    Ok(walked)
}

fn joined(components: &[Vec<u8>]) -> Vec<u8> {
    [b"/", &components.join(&b'/')[..]].concat()
}

/// Directory and last name, as Go's `filepath` has them: `.` is a last name, the root has none.
fn split(path: &str) -> (&str, &str) {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        Some((parent, name)) => (parent, name),
        None => ("", trimmed),
    }
}
