//! A container's file system as only the worker sees it: a mount namespace of its own, in which there is nothing else.
//!
//! ```text
//! running   enter the container's mount namespace ─ copy its root mount, and what is mounted where it asked for
//!           mounts ─ leave it again
//! at rest   the daemon hands over a mount of the layers, and copies of the volumes and directories
//!
//! both      a namespace of our own ─ attach the root over `/`, the mounts in it ─ pivot_root(2) ─ detach all else
//! ```
//!
//! From then on no path of the host can be named, whatever the container makes of its links meanwhile: the kernel itself
//! resolves them in the container's tree (CVE-2018-15664). Nothing of the container is ever executed or loaded
//! (CVE-2019-14271): the worker is one file, which is running already. Nothing stays mounted when it ends, however it ends.
//!
//! What the runtime mounts by itself (`/proc`, `/sys`, `/dev`) is not there, as in Docker: the directories below it are.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::mount::{self, Attributes};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};
use serde::{Deserialize, Serialize};

use crate::files::Access;

/// Nothing of a container is executed here, no device of it is opened, and mounts of the host neither come nor go.
const HARMLESS: Attributes = Attributes {
    set: mount::NO_DEVICES | mount::NO_SUID | mount::NO_EXECUTION,
    clear: 0,
    propagation: mount::PRIVATE,
};

/// What to make of the descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewRequest {
    /// The root is the mount namespace of a running container; otherwise a mount that is attached nowhere.
    pub(crate) is_running: bool,
    pub(crate) root_access: Access,
    /// Parents before what lies below them.
    pub(crate) mounts: Vec<MountRequest>,
}

/// Something mounted in the container. Of a container at rest it comes with a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRequest {
    /// Absolute, without `.` and `..`.
    pub(crate) target: String,
    pub(crate) access: Access,
}

/// Goes where nothing is but the container's files; its root.
pub(super) fn enter(request: &ViewRequest, root: OwnedFd, sources: Vec<OwnedFd>) -> Result<OwnedFd, Errno> {
    let (root, mounts) = if request.is_running {
        copy_running(root.as_fd(), request)?
    } else {
        (root, sources.into_iter().map(Some).collect())
    };
    linux::unshare::mounts()?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount::set_attributes(root.as_fd(), HARMLESS, true)?;
    rustix::mount::move_mount(&root, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for (mount, source) in request.mounts.iter().zip(mounts) {
        if let Some(source) = source {
            attach(root.as_fd(), mount, source.as_fd())?;
        }
    }
    Ok(root)
}

/// Takes everything away but the root: pivot_root(2), notes.
pub(super) fn leave_all_else(root: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// Copies of the root mount of a namespace and of what is mounted at the targets. What a container unmounted is not
/// there; then the copy is of the directory below, which changes nothing.
fn copy_running(
    namespace: BorrowedFd<'_>,
    request: &ViewRequest,
) -> Result<(OwnedFd, Vec<Option<OwnedFd>>), Errno> {
    let own = rustix::fs::open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    linux::namespace::enter(namespace, linux::namespace::MOUNT)?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(c"/", directory, Mode::empty())?;
    let root = mount::copy(top.as_fd(), c"", false)?;
    let copy_at = |mount: &MountRequest| {
        let path = CString::new(mount.target.as_str()).map_err(|_| Errno::INVAL)?;
        match linux::path::open_in_root(top.as_fd(), &path, OFlags::PATH) {
            Ok(found) => mount::copy(found.as_fd(), c"", true).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    };
    let mounts = request.mounts.iter().map(copy_at).collect::<Result<Vec<_>, _>>()?;
    linux::namespace::enter(own.as_fd(), linux::namespace::MOUNT)?;
    Ok((root, mounts))
}

/// Mounts a copy below the root, where a file or a directory for it is made if there is none: as the runtime does.
fn attach(root: BorrowedFd<'_>, mount: &MountRequest, source: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = HARMLESS;
    if mount.access == Access::ReadOnly {
        attributes.set |= mount::READ_ONLY;
    }
    mount::set_attributes(source, attributes, true)?;
    let path = CString::new(mount.target.as_str()).map_err(|_| Errno::INVAL)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode);
    let target = if kind == FileType::Directory {
        linux::path::mkdir_all_in_root(root, &path, Mode::from_raw_mode(0o755))?
    } else {
        linux::path::create_file_in_root(root, &path, Mode::from_raw_mode(0o755))?
    };
    mount::attach(source, target.as_fd())
}
