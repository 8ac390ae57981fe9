//! Where the members of an archive are: numbered files that the worker wrote, or a layout's directory.
//!
//! Both are read by descriptor without following links, because whoever wrote them is not trusted.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::manifest::MAX_DOCUMENT_SIZE;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::worker::{MEMBERS_FILE, MemberContent};

/// Largest table of members: its most members with their longest names.
const MAX_TABLE_SIZE: u64 = 32 << 20;
/// Links from one layer to another in old docker archives are not chained; a few are harmless.
const MAX_LINKS: u32 = 8;

pub(super) enum Source {
    Extracted { directory: OwnedFd, members: HashMap<String, MemberContent> },
    Layout(OwnedFd),
}

/// An open member.
pub(super) struct Member {
    pub(super) file: File,
    pub(super) size: u64,
}

impl Source {
    /// What the worker took apart.
    pub(super) fn extracted(directory: OwnedFd, path: &Path) -> Result<Source> {
        let failed = |source| Error::File { what: "read", path: path.join(MEMBERS_FILE), source };
        let table = open_file(directory.as_fd(), MEMBERS_FILE).map_err(|errno| failed(errno.into()))?;
        let mut json = Vec::new();
        table.file.take(MAX_TABLE_SIZE).read_to_end(&mut json).map_err(failed)?;
        let members: Vec<crate::worker::Member> = serde_json::from_slice(&json)
            .map_err(|source| Error::Json { member: MEMBERS_FILE.to_owned(), source })?;
        let members = members.into_iter().map(|member| (member.name, member.content)).collect();
        Ok(Source::Extracted { directory, members })
    }

    /// A layout's directory.
    pub(super) fn layout(directory: BorrowedFd<'_>) -> Result<Source> {
        let failed = |source| Error::File { what: "open", path: "the layout's directory".into(), source };
        Ok(Source::Layout(directory.try_clone_to_owned().map_err(failed)?))
    }

    /// Opens a member, if it is there.
    pub(super) fn open(&self, name: &str) -> Result<Option<Member>> {
        let opened = match self {
            Source::Layout(directory) => open_file(directory.as_fd(), name),
            Source::Extracted { directory, members } => match find(members, name) {
                Some(number) => open_file(directory.as_fd(), &number.to_string()),
                None => return Ok(None),
            },
        };
        match opened {
            Ok(member) => Ok(Some(member)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::File { what: "open member", path: name.into(), source: errno.into() }),
        }
    }

    /// The bytes of a member that is a JSON document.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(member) = self.open(name)? else { return Ok(None) };
        let failed = |source| Error::File { what: "read member", path: name.into(), source };
        if member.size > MAX_DOCUMENT_SIZE as u64 {
            return Err(Error::DocumentTooLarge { member: name.to_owned(), size: member.size });
        }
        let mut bytes = Vec::new();
        member.file.take(MAX_DOCUMENT_SIZE as u64).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }
}

/// The number of a member's file, through links.
fn find(members: &HashMap<String, MemberContent>, name: &str) -> Option<usize> {
    let mut name = name.strip_prefix("./").unwrap_or(name);
    for _ in 0..MAX_LINKS {
        match members.get(name)? {
            MemberContent::File { file, .. } => return Some(*file),
            MemberContent::Link { link } => name = link,
        }
    }
    None
}

fn open_file(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Member> {
    // Nonblocking, so that a fifo in its place cannot hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(Member { file: File::from(file), size: u64::try_from(stat.st_size).unwrap_or_default() })
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
        what: "open",
        path: path.to_owned(),
        source: errno.into(),
    })
}
