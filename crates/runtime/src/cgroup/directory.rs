//! One group in one hierarchy: a directory of cgroupfs, and its files by descriptor.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::hierarchy::Hierarchy;
use super::path::CgroupPath;
use super::{Error, Result};

/// `memory.stat` has 5 kB and `cgroup.procs` 8 bytes a process; a file of this size is not worth reading.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Directory {
    hierarchy: Arc<Hierarchy>,
    /// Below the hierarchy's root.
    path: String,
    fd: OwnedFd,
}

impl Directory {
    pub(super) fn open(hierarchy: &Arc<Hierarchy>, path: &CgroupPath) -> Result<Directory> {
        Directory::open_relative(hierarchy, path.relative())
    }

    /// Opens any group by its path below the root; the root itself is `.`.
    pub(super) fn open_relative(hierarchy: &Arc<Hierarchy>, path: &str) -> Result<Directory> {
        match rustix::fs::openat(hierarchy.root(), path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Directory { hierarchy: Arc::clone(hierarchy), path: path.to_owned(), fd }),
            Err(Errno::NOENT) => Err(Error::NotFound { path: hierarchy.mount_point().join(path) }),
            Err(source) => Err(Error::Open { path: hierarchy.mount_point().join(path), source }),
        }
    }

    /// A group below this one. It may vanish at any time, hence the plain result.
    pub(super) fn open_child(&self, name: &str) -> Result<Directory, Errno> {
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        Ok(Directory { hierarchy: Arc::clone(&self.hierarchy), path: format!("{}/{name}", self.path), fd })
    }

    pub(super) fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// The path below the hierarchy's root.
    pub(super) fn relative(&self) -> &str {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn host_path(&self) -> PathBuf {
        self.hierarchy.mount_point().join(&self.path)
    }

    pub(super) fn file_path(&self, file: &str) -> PathBuf {
        self.host_path().join(file)
    }

    pub(super) fn open_file(&self, file: &str, flags: OFlags) -> Result<OwnedFd> {
        self.try_open(file, flags).map_err(|source| Error::Open { path: self.file_path(file), source })
    }

    /// Writes a value; the kernel's answer is for the caller to explain.
    pub(super) fn try_write(&self, file: &str, value: &str) -> Result<(), Errno> {
        let opened = self.try_open(file, OFlags::WRONLY)?;
        rustix::io::retry_on_intr(|| rustix::io::write(&opened, value.as_bytes())).map(drop)
    }

    /// Writes to one of the kernel's own files.
    pub(super) fn write_core(&self, file: &str, value: &str) -> Result<()> {
        self.try_write(file, value).map_err(|source| Error::Write {
            controller: "cgroup".to_owned(),
            path: self.file_path(file),
            value: value.to_owned(),
            help: None,
            source,
        })
    }

    pub(super) fn read(&self, file: &str) -> Result<String> {
        self.try_read(file)
            .map_err(|source| Error::Read { path: self.file_path(file), source: source.into() })
    }

    pub(super) fn try_read(&self, file: &str) -> Result<String, Errno> {
        let mut content = String::new();
        File::from(self.try_open(file, OFlags::RDONLY)?)
            .take(MAX_FILE_BYTES)
            .read_to_string(&mut content)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::ILSEQ))?;
        Ok(content)
    }

    /// Names of the groups below this one.
    pub(super) fn children(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    fn try_open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.fd, file, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
