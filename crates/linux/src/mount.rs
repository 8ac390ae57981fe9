//! Mounts as descriptors: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2).
//!
//! A mount made here belongs to no namespace until [`attach`]; closing the last descriptor of one that never was
//! attached unmounts it. All functions but [`explanation`] allocate nothing.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::syscall::{self, Result};

/// `MOUNT_ATTR_…` of `<linux/mount.h>`.
pub const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;
pub const NO_SUID: u64 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64;
pub const NO_DEVICES: u64 = MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64;
pub const NO_EXECUTION: u64 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64;
pub const NO_LINKS: u64 = MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW.bits() as u64;
const ID_MAP: u64 = MountAttrFlags::MOUNT_ATTR_IDMAP.bits() as u64;
pub const NO_ACCESS_TIMES: u64 = MountAttrFlags::MOUNT_ATTR_NOATIME.bits() as u64;
pub const STRICT_ACCESS_TIMES: u64 = MountAttrFlags::MOUNT_ATTR_STRICTATIME.bits() as u64;
pub const NO_DIRECTORY_ACCESS_TIMES: u64 = MountAttrFlags::MOUNT_ATTR_NODIRATIME.bits() as u64;
/// All bits of the choice between relative (which is zero), strict and no access times.
pub const ACCESS_TIMES: u64 = MountAttrFlags::MOUNT_ATTR__ATIME.bits() as u64;

/// How mounts and unmounts below a mount travel to its peers.
pub const PRIVATE: u64 = MountPropagationFlags::PRIVATE.bits() as u64;
pub const SHARED: u64 = MountPropagationFlags::SHARED.bits() as u64;
pub const SLAVE: u64 = MountPropagationFlags::DOWNSTREAM.bits() as u64;
pub const UNBINDABLE: u64 = MountPropagationFlags::UNBINDABLE.bits() as u64;

/// Longest explanation that is read.
const EXPLANATION_MAX: usize = 1024;

/// Changes to the attributes of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub set: u64,
    pub clear: u64,
    /// Zero leaves it.
    pub propagation: u64,
}

/// One option: a flag, or a key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub key: CString,
    pub value: Option<CString>,
}

/// Starts a new instance of a file system.
pub fn open(kind: &CStr) -> Result<OwnedFd> {
    rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
}

/// Gives an opened file system its options and mounts it, attached nowhere.
pub fn create(context: BorrowedFd<'_>, parameters: &[Parameter], attributes: u64) -> Result<OwnedFd> {
    for parameter in parameters {
        match &parameter.value {
            Some(value) => rustix::mount::fsconfig_set_string(context, &*parameter.key, &**value)?,
            None => rustix::mount::fsconfig_set_flag(context, &*parameter.key)?,
        }
    }
    rustix::mount::fsconfig_create(context)?;
    let attributes = MountAttrFlags::from_bits_retain((attributes & 0xffff_ffff) as u32);
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// What the kernel said about a failed [`create`], in its own words.
pub fn explanation(context: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0; EXPLANATION_MAX];
    let length = rustix::io::read(context, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..length)?);
    // One letter for the severity, a space, the text.
    Some(text.get(2..)?.trim().to_owned())
}

/// A new overlay, attached nowhere, whose layers are detached mounts, topmost first (Linux 6.15); otherwise as [`create`].
pub fn create_on(
    context: BorrowedFd<'_>,
    layers: &[OwnedFd],
    parameters: &[Parameter],
    attributes: u64,
) -> Result<OwnedFd> {
    for layer in layers {
        rustix::mount::fsconfig_set_fd(context, c"lowerdir+", layer.as_fd())?;
    }
    create(context, parameters, attributes)
}

/// A copy of the mount at `path`, attached nowhere; with everything mounted below it if `is_recursive`.
pub fn copy(directory: BorrowedFd<'_>, path: &CStr, is_recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, is_recursive);
    rustix::mount::open_tree(directory, path, flags)
}

/// Attaches a mount on what `target` is.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// Shows the files of a mount as owned by others: `owners` is a user namespace, and what belongs to a user inside it by
/// number belongs to the host's user of that one. Only a mount that was never attached can be changed so.
pub fn map_owners(mount: BorrowedFd<'_>, owners: BorrowedFd<'_>, is_recursive: bool) -> Result<()> {
    let userns_fd = u64::try_from(owners.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let map = libc::mount_attr { attr_set: ID_MAP, attr_clr: 0, propagation: 0, userns_fd };
    set(mount, map, is_recursive)
}

/// mount_setattr(2) on the mount whose root `mount` is; on all below it too if `is_recursive`.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes, is_recursive: bool) -> Result<()> {
    let Attributes { set: attr_set, clear: attr_clr, propagation } = attributes;
    set(mount, libc::mount_attr { attr_set, attr_clr, propagation, userns_fd: 0 }, is_recursive)
}

fn set(mount: BorrowedFd<'_>, arguments: libc::mount_attr, is_recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if is_recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid empty C string and `arguments` is valid for the size given.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const arguments,
            size_of::<libc::mount_attr>(),
        )
    };
    syscall::check(returned).map(drop)
}
