//! Control groups of a container, on cgroup v1, hybrid and v2.
//!
//! A container has one group of the same path in every mounted hierarchy, v1 and v2 alike. Where a controller lives
//! decides how its limits are written, controller by controller, so a hybrid machine needs no mode of its own.
//!
//! ```text
//! Resources ──plan (pure)──▶ steps {controller, file, value}
//!                              │
//! create: mkdir in every hierarchy ─▶ cpuset from the parents ─▶ write the steps ─▶ device filter (v2)
//! join:   the child moves itself: CLONE_INTO_CGROUP (v2), `0` to `tasks` (v1)
//! remove: children first, every hierarchy, again for a bounded time while the kernel says busy
//! ```
//!
//! Invariants:
//! * No process number is ever written: that waits for a grace period of the kernel (6 to 18 ms each); a thread that
//!   moves itself does not wait.
//! * Only files that were asked for are written. What was asked for and cannot be had is an error that names the
//!   controller, the file and the value.
//! * Files are reached by descriptor from the hierarchy's root; the path has no `..` and cgroupfs has no links.
//! * Every wait is bounded.
//!
//! See `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst` of the kernel, and the runtime specification,
//! `config-linux.md`, "Control groups".

mod block_io;
mod create;
mod devices;
mod directory;
mod error;
mod freeze;
mod hierarchy;
mod kill;
mod oom;
mod path;
mod plan;
mod rare;
mod remove;
mod stats;
mod v1;
mod v2;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci::runtime_spec::Resources;
use rustix::fs::{Mode, OFlags};

use directory::Directory;
pub use error::{Error, Result};
pub use hierarchy::{Hierarchies, Version};
pub use oom::OomWatch;
use path::CgroupPath;
pub use path::check_path;
pub use stats::{IoCount, Stats, Swap, Throttling};

/// The control groups of one container, in every hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    path: CgroupPath,
    directories: Vec<Directory>,
}

/// What the container's processes need to move themselves in.
#[derive(Debug)]
pub struct Join {
    /// `tasks` of every v1 hierarchy, open for writing: the single-threaded child writes `0` to each.
    pub v1_tasks: Vec<OwnedFd>,
    /// Directory of the v2 hierarchy, for `CLONE_INTO_CGROUP`.
    pub v2_dir: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes the groups and sets the limits; on failure nothing is left behind.
    ///
    /// An empty group of this path, left by a crash, is replaced by a fresh one; one in use is refused: one with
    /// processes, or whose creator still holds it.
    pub fn create(path: &str, resources: Option<&Resources>) -> Result<Cgroup> {
        Cgroup::create_in(Hierarchies::mounted()?, path, resources)
    }

    /// [`Cgroup::create`] in some of the machine's hierarchies.
    pub fn create_in(hierarchies: &Hierarchies, path: &str, resources: Option<&Resources>) -> Result<Cgroup> {
        create::create(hierarchies, CgroupPath::parse(path)?, resources)
    }

    /// The groups of a container that exists.
    pub fn open(path: &str) -> Result<Cgroup> {
        Cgroup::open_in(Hierarchies::mounted()?, path)
    }

    /// [`Cgroup::open`] in some of the machine's hierarchies.
    pub fn open_in(hierarchies: &Hierarchies, path: &str) -> Result<Cgroup> {
        let path = CgroupPath::parse(path)?;
        let directories =
            hierarchies.iter().map(|hierarchy| Directory::open(hierarchy, &path)).collect::<Result<_>>()?;
        Ok(Cgroup { path, directories })
    }

    /// The path below the hierarchies' roots.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Our directory in every hierarchy: the name of its mount below `/sys/fs/cgroup` (empty if cgroup v2 is mounted
    /// on `/sys/fs/cgroup` itself) and its path on the host. The container's `/sys/fs/cgroup` is made of them.
    pub fn directories(&self) -> Vec<(String, PathBuf)> {
        let named = |directory: &Directory| {
            let mount = directory.hierarchy().mount_point();
            let name = mount.strip_prefix("/sys/fs/cgroup").ok().or(mount.file_name().map(AsRef::as_ref));
            (name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), directory.host_path())
        };
        self.directories.iter().map(named).collect()
    }

    /// Opens what a process needs to move itself in.
    pub fn join_fds(&self) -> Result<Join> {
        let mut join = Join { v1_tasks: Vec::new(), v2_dir: None };
        for directory in &self.directories {
            match directory.hierarchy().version() {
                Version::V1 => join.v1_tasks.push(directory.open_file("tasks", OFlags::WRONLY)?),
                Version::V2 => join.v2_dir = Some(directory.open_file(".", OFlags::DIRECTORY)?),
            }
        }
        Ok(join)
    }

    /// Moves the calling process, which has one thread, into the groups of that path, in every hierarchy that has one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if none has: nothing is made.
    pub fn enter(path: &str) -> Result<()> {
        let path = CgroupPath::parse(path)?;
        let mut missing = None;
        let mut is_in = false;
        for hierarchy in Hierarchies::mounted()?.iter() {
            let directory = match Directory::open(hierarchy, &path) {
                Err(error @ Error::NotFound { .. }) => {
                    missing = Some(error);
                    continue;
                }
                opened => opened?,
            };
            let file = match hierarchy.version() {
                Version::V1 => "tasks",
                Version::V2 => "cgroup.procs",
            };
            directory.write_core(file, "0")?;
            is_in = true;
        }
        missing.filter(|_| !is_in).map_or(Ok(()), Err)
    }

    /// Moves the calling process, with all its threads, into the groups of that path, which are made where they are missing.
    pub fn settle(path: &str) -> Result<()> {
        let cgroup = match Cgroup::open(path) {
            Err(Error::NotFound { .. }) => Cgroup::create(path, None)?,
            opened => opened?,
        };
        cgroup.directories.iter().try_for_each(|directory| directory.write_core("cgroup.procs", "0"))
    }

    /// Changes limits; what `resources` does not name stays as it is.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        if !resources.devices.is_empty() {
            return Err(Error::Unsupported { what: "changing the device rules of a running container" });
        }
        self.apply(resources)
    }

    /// Writes limits.
    fn apply(&self, resources: &Resources) -> Result<()> {
        for step in plan::plan(resources, self)? {
            step.perform(self)?;
        }
        Ok(())
    }

    /// The group in the hierarchy of a controller.
    fn controlled_by(&self, controller: &str) -> Option<&Directory> {
        self.directories.iter().find(|directory| directory.hierarchy().has(controller))
    }

    fn unified(&self) -> Option<&Directory> {
        self.directories.iter().find(|directory| directory.hierarchy().version() == Version::V2)
    }

    /// The one hierarchy that tells which processes there are, best suited first.
    fn members(&self) -> Result<&Directory> {
        self.unified()
            .or_else(|| self.controlled_by("freezer"))
            .or_else(|| self.controlled_by("pids"))
            .or(self.directories.first())
            .ok_or(Error::NoHierarchy)
    }
}

const DIRECTORY_MODE: Mode = Mode::from_bits_retain(0o755);
