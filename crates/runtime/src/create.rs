//! `create`: from a specification to a container whose first process waits to be started.

use std::os::fd::OwnedFd;

use oci::runtime_spec::Spec;

use crate::container::Container;
use crate::error::{Result, Warning};
use crate::rootfs::Rootfs;
use crate::stdio::Stdio;

/// What to create.
#[derive(Debug)]
pub struct Create<'a> {
    /// Names the container in errors and in its cgroup when `linux.cgroupsPath` is empty.
    pub id: &'a str,
    /// `root.path` and `process.terminal` are not looked at: `rootfs` and `stdio` say it.
    pub spec: &'a Spec,
    pub rootfs: Rootfs,
    pub stdio: Stdio,
    /// Kinds of rlimit (`RLIMIT_NOFILE`) that nobody asked for: one that the kernel refuses is lowered, with a warning.
    pub default_rlimits: &'a [String],
    /// Make `process.cwd` when it does not exist.
    pub ensure_cwd: bool,
}

/// A container that waits for [`Container::start`].
#[derive(Debug)]
pub struct Created {
    pub container: Container,
    /// The master of [`Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// What could not be granted and need not be.
    pub warnings: Vec<Warning>,
}

/// Creates a container. When it fails nothing is left: no process, no mount, no cgroup.
///
/// A program that does not exist or may not be executed is found out here, not at start: [`crate::Error::code`] is then
/// `NotFound` (exit status 127) or `PermissionDenied` (126) and the message is the one that Docker's users know.
pub fn create(request: Create<'_>) -> Result<Created> {
    let _ = request;
    todo!()
}
