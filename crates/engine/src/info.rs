//! What the engine and its machine are.

use crate::engine::Engine;
use crate::error::Result;

/// What `docker info` shows of the engine.
#[derive(Debug, Clone, Default)]
pub struct Info {
    /// Of this installation; made once.
    pub id: String,
    pub containers: usize,
    pub containers_running: usize,
    pub containers_paused: usize,
    pub containers_stopped: usize,
    pub images: usize,
    pub snapshotter: String,
    /// The file system below the root.
    pub backing_file_system: String,
    pub root: String,
    pub hostname: String,
    pub kernel_version: String,
    pub operating_system: String,
    pub os_version: String,
    /// `x86_64`
    pub architecture: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    /// `1` or `2`
    pub cgroup_version: u8,
    pub event_listeners: usize,
    pub open_files: usize,
    pub tasks: usize,
    pub warnings: Vec<String>,
}

/// What `docker version` shows of the engine.
#[derive(Debug, Clone, Default)]
pub struct Version {
    pub version: &'static str,
    pub kernel_version: String,
    pub os: &'static str,
    /// Go's word for it: `amd64`, `arm64`.
    pub architecture: &'static str,
}

impl Engine {
    /// What the engine has and runs on.
    pub async fn info(&self) -> Result<Info> {
        todo!()
    }
    /// Which version it is.
    pub fn version(&self) -> Version {
        todo!()
    }
}
