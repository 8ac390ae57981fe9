//! The engine: everything that it owns, made once.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;

/// Where the engine keeps things and how it behaves when nobody says.
#[derive(Debug, Clone)]
pub struct Config {
    pub root: PathBuf,
    pub state: PathBuf,
    /// Path below the cgroup roots, starting with `/`, that holds all containers.
    pub cgroup_parent: String,
    /// The shim's executable.
    pub shim: PathBuf,
    /// Shims that wait, started, for a container.
    pub spare_shims: usize,
    pub log: LogDefaults,
    pub stop_timeout_s: i64,
}

/// Log rotation of containers that do not say.
#[derive(Debug, Clone, Copy)]
pub struct LogDefaults {
    pub max_size_bytes: u64,
    pub max_files: u32,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Opens the store, finishes or undoes what was begun, and finds the containers that run.
    pub async fn open(_config: Config) -> Result<Arc<Engine>> {
        todo!()
    }
    /// Leaves containers running, writes a backup of the database and lets go of everything.
    pub async fn close(&self) -> Result<()> {
        todo!()
    }
}
