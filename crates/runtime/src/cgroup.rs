//! Control groups of a container, on cgroup v1, hybrid and v2.

use std::os::fd::OwnedFd;

use api::code::Code;
use oci::runtime_spec::Resources;

/// The control groups of one container, in every hierarchy.
#[derive(Debug)]
pub struct Cgroup {}

/// What the container's first process needs to move itself in.
#[derive(Debug)]
pub struct Join {
    /// `tasks` of every v1 hierarchy, open for writing: the single-threaded child writes `0` to each.
    pub v1_tasks: Vec<OwnedFd>,
    /// Directory of the v2 hierarchy, for `CLONE_INTO_CGROUP`.
    pub v2_dir: Option<OwnedFd>,
}

/// What a container uses now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu_usage_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    pub memory_usage_bytes: u64,
    /// None: no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Page cache.
    pub memory_cache_bytes: u64,
    /// The part of the cache that the kernel would give up first; what `docker stats` subtracts.
    pub memory_inactive_file_bytes: u64,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    pub io_read_bytes: u64,
    pub io_write_bytes: u64,
    pub oom_kills: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cgroup path `{path}` is not valid")]
    InvalidPath { path: String },
}

impl Error {
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Cgroup {
    /// Makes the groups and sets the limits; on failure nothing is left behind.
    pub fn create(_path: &str, _resources: Option<&Resources>) -> Result<Cgroup> {
        todo!()
    }
    pub fn open(_path: &str) -> Result<Cgroup> {
        todo!()
    }
    pub fn path(&self) -> &str {
        todo!()
    }
    /// Our directory in every hierarchy: the name of its mount below `/sys/fs/cgroup` (empty if cgroup v2 is mounted on
    /// `/sys/fs/cgroup` itself) and its path on the host. The container's `/sys/fs/cgroup` is made of them.
    pub fn directories(&self) -> Vec<(String, std::path::PathBuf)> {
        todo!()
    }
    pub fn join_fds(&self) -> Result<Join> {
        todo!()
    }
    pub fn update(&self, _resources: &Resources) -> Result<()> {
        todo!()
    }
    pub fn freeze(&self) -> Result<()> {
        todo!()
    }
    pub fn thaw(&self) -> Result<()> {
        todo!()
    }
    pub fn is_frozen(&self) -> Result<bool> {
        todo!()
    }
    /// Kills every process and returns when none is left.
    pub fn kill_all(&self) -> Result<()> {
        todo!()
    }
    /// Sends `signal` to every process.
    pub fn processes(&self) -> Result<Vec<u32>> {
        todo!()
    }
    pub fn stats(&self) -> Result<Stats> {
        todo!()
    }
    pub fn oom_kills(&self) -> Result<u64> {
        todo!()
    }
    /// Removes the groups; refuses while a process is inside.
    pub fn remove(&self) -> Result<()> {
        todo!()
    }
}
