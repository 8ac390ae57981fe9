//! The tree: its root, what is mounted in it, what is hidden and what is read-only.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};

use super::console::is_type;
use super::{Base, Child, Mount, Slot, Source};
use crate::mount::{self, Attributes};
use crate::path;
use crate::syscall::Result;

/// The whole copied namespace becomes private.
pub(super) fn make_private() -> Result<()> {
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Makes one mount read-only, whatever is mounted below it.
pub(super) fn make_read_only(mount: BorrowedFd<'_>) -> Result<()> {
    mount::set_attributes(mount, Attributes { set: mount::READ_ONLY, ..Attributes::default() }, false)
}

impl Child<'_> {
    /// Over `/`, where no directory has to exist for it; absolute paths still lead to the old root until the pivot.
    pub(super) fn attach_root(&mut self, slot: Slot) -> Result<()> {
        let mount = self.slot(slot)?;
        rustix::mount::move_mount(mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        self.root = Some(rustix::io::fcntl_dupfd_cloexec(mount, 3)?);
        Ok(())
    }

    pub(super) fn use_root(&mut self) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        Ok(())
    }

    /// Stacks the old root on the new one, and takes it away with all that is mounted on it: pivot_root(2), notes.
    pub(super) fn pivot_root(&self) -> Result<()> {
        rustix::process::fchdir(self.base(Base::Root)?)?;
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    pub(super) fn root_propagation(&self, propagation: u64, is_recursive: bool) -> Result<()> {
        let attributes = Attributes { propagation, ..Attributes::default() };
        mount::set_attributes(self.base(Base::Root)?, attributes, is_recursive)
    }

    pub(super) fn mount(&mut self, mount: &Mount) -> Result<()> {
        let new;
        let source = match &mount.source {
            Source::New { kind, parameters, attributes } => {
                let context = mount::open(kind)?;
                new = mount::create(context.as_fd(), parameters, *attributes)?;
                new.as_fd()
            }
            Source::Detached { mount, .. } => self.slot(*mount)?,
        };
        let target = self.target(mount, source)?;
        mount::attach(source, target.as_fd())?;
        if mount.attributes != Attributes::default() {
            mount::set_attributes(source, mount.attributes, false)?;
        }
        if mount.is_devices {
            self.devices = Some(rustix::io::fcntl_dupfd_cloexec(source, 3)?);
        }
        Ok(())
    }

    fn target(&self, mount: &Mount, source: BorrowedFd<'_>) -> Result<OwnedFd> {
        let root = self.base(Base::Root)?;
        if mount.refuses_links {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::openat2(root, &*mount.target, flags, Mode::empty(), resolve) {
                Err(Errno::NOENT) => {}
                other => return other,
            }
        }
        if is_type(source, FileType::Directory)? {
            path::mkdir_all_in_root(root, &mount.target, Mode::from_raw_mode(0o755))
        } else {
            path::create_file_in_root(root, &mount.target, Mode::from_raw_mode(0o755))
        }
    }

    pub(super) fn mask(&mut self, path: &CStr) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        if !is_type(target.as_fd(), FileType::Directory)? {
            let null = self.null()?;
            return mount::attach(mount::copy(null.as_fd(), c"", false)?.as_fd(), target.as_fd());
        }
        if let Some(empty) = &self.mask_directory {
            return mount::attach(mount::copy(empty.as_fd(), c"", false)?.as_fd(), target.as_fd());
        }
        let context = mount::open(c"tmpfs")?;
        let attributes = mount::READ_ONLY | mount::NO_SUID | mount::NO_DEVICES | mount::NO_EXECUTION;
        let empty = mount::create(context.as_fd(), &[], attributes)?;
        mount::attach(empty.as_fd(), target.as_fd())?;
        self.mask_directory = Some(empty);
        Ok(())
    }

    pub(super) fn read_only(&self, path: &CStr) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let copy = mount::copy(target.as_fd(), c"", true)?;
        make_read_only(copy.as_fd())?;
        mount::attach(copy.as_fd(), target.as_fd())
    }

    /// What is at a path; nothing when there is nothing.
    fn existing(&self, path: &CStr) -> Result<Option<OwnedFd>> {
        match path::open_in_root(self.base(Base::Root)?, path, OFlags::PATH) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Through a proc file system of our own: the container's may be covered, or be something else (CVE-2019-16884).
    pub(super) fn sysctl(&mut self, key: &CStr, value: &CStr) -> Result<()> {
        if self.proc.is_none() {
            let context = mount::open(c"proc")?;
            self.proc = Some(mount::create(context.as_fd(), &[], 0)?);
        }
        let proc = self.proc.as_ref().ok_or(Errno::BADF)?;
        let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let sys = rustix::fs::openat2(proc, c"sys", directory, Mode::empty(), strict)?;
        let file = rustix::fs::openat2(&sys, key, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), strict)?;
        rustix::io::write(&file, value.to_bytes()).map(drop)
    }
}
