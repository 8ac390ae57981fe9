//! Files of containers: looked at, read as an archive, written from one. The worker does it; here is who asks it.
//!
//! What is in a container is hostile, and so is an archive that a client sends: the worker goes into a mount namespace in
//! which there is nothing but the container's files, gives up what it does not need, and only then resolves a path.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::worker::{Action, FilesRequest, MountRequest, ViewRequest, WorkerCommand, WorkerError};

/// Whether something may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    ReadOnly,
    Writable,
}

/// A container's file system.
#[derive(Debug)]
pub struct View {
    pub root: Root,
    pub root_access: Access,
    /// Parents before what lies below them.
    pub mounts: Vec<Mounted>,
}

/// Where a container's own files are.
#[derive(Debug)]
pub enum Root {
    /// Of a container at rest: a mount that is attached nowhere.
    AtRest(OwnedFd),
    /// Of a running one: its mount namespace.
    Running(OwnedFd),
}

/// A volume, a directory or a file that is mounted in a container.
#[derive(Debug)]
pub struct Mounted {
    /// Absolute, without `.` and `..`.
    pub target: String,
    pub access: Access,
    /// A mount that is attached nowhere. A running container has its own: none.
    pub source: Option<OwnedFd>,
}

/// How files are put into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceOptions {
    /// A directory is not replaced by anything else, nor anything else by a directory.
    pub keeps_kinds: bool,
    /// `user[:group]` whose the files are to be, as the container knows them; else those of the archive.
    pub owner: Option<String>,
}

/// What a path in a container leads to. A symbolic link at its end is not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    pub size_bytes: u64,
    /// Type and permissions as stat(2) has them.
    pub mode: u32,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    /// Of a symbolic link: where it leads, with every link in the way resolved; else empty.
    pub link_target: String,
}

impl WorkerCommand {
    /// Looks at a path.
    ///
    /// # Errors
    /// [`WorkerError::Refused`] that is not found, or why.
    pub fn stat_file(&self, view: View, path: &str) -> Result<FileStat, WorkerError> {
        let mut found = None;
        // It has nothing to say but what it found.
        let nothing = rustix::fs::open("/dev/null", rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .map_err(|errno| WorkerError::Start(errno.into()))?;
        let action = Action::Stat { path: path.to_owned() };
        self.act(view, action, nothing.as_fd(), &mut |stat| found = Some(stat))?;
        Ok(found.unwrap_or_default())
    }

    /// Writes what is at a path into `output` as an archive; `found` is told what it is before that.
    pub fn pack_files(
        &self,
        view: View,
        path: &str,
        output: OwnedFd,
        found: &mut dyn FnMut(FileStat),
    ) -> Result<(), WorkerError> {
        self.act(view, Action::Pack { path: path.to_owned() }, output.as_fd(), found)
    }

    /// Writes all of it into `output` as an archive.
    pub fn export_files(&self, view: View, output: OwnedFd) -> Result<(), WorkerError> {
        self.act(view, Action::Export, output.as_fd(), &mut |_| {})
    }

    /// Puts the files of an archive into the directory at a path.
    pub fn place_files(
        &self,
        view: View,
        path: &str,
        options: PlaceOptions,
        input: OwnedFd,
    ) -> Result<(), WorkerError> {
        self.act(view, Action::Place { path: path.to_owned(), options }, input.as_fd(), &mut |_| {})
    }

    fn act(
        &self,
        view: View,
        action: Action,
        stream: BorrowedFd<'_>,
        found: &mut dyn FnMut(FileStat),
    ) -> Result<(), WorkerError> {
        let View { root, root_access, mounts } = view;
        let (is_running, root) = match root {
            Root::AtRest(mount) => (false, mount),
            Root::Running(namespace) => (true, namespace),
        };
        let (requests, sources): (Vec<_>, Vec<_>) = mounts
            .into_iter()
            .map(|mount| (MountRequest { target: mount.target, access: mount.access }, mount.source))
            .unzip();
        let sources: Vec<OwnedFd> = sources.into_iter().flatten().collect();
        let sources: Vec<BorrowedFd<'_>> = sources.iter().map(AsFd::as_fd).collect();
        let view = ViewRequest { is_running, root_access, mounts: requests };
        self.run_files(FilesRequest { view, action }, [stream, root.as_fd()], &sources, found).map(drop)
    }
}
