//! The exit record: how the container's first process ended, on disk before anybody is told.
//!
//! `<shim dir>/exit.json`: `{"pid":1,"exit_status":0,"exited_at_ns":1,"oom_killed":false}`, written under a temporary name
//! and renamed. The state directory is a tmpfs: a reboot ends the container and its record alike.

use std::fs;
use std::io;
use std::path::Path;

use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

const NAME: &str = "exit.json";

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub pid: u32,
    /// The code, or 128 plus the signal.
    pub exit_status: u32,
    pub exited_at_ns: i64,
    pub oom_killed: bool,
}

impl ExitRecord {
    /// Writes the record into the shim's directory.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let temporary = directory.join(".exit.json");
        fs::write(&temporary, serde_json::to_vec(self)?)?;
        fs::rename(&temporary, directory.join(NAME))
    }

    /// Reads the record of a shim that may be gone; `None`: there is none.
    pub fn read(directory: &Path) -> Option<ExitRecord> {
        serde_json::from_slice(&fs::read(directory.join(NAME)).ok()?).ok()
    }

    /// When, for a message.
    pub(crate) fn timestamp(&self) -> Timestamp {
        api::time::timestamp(self.exited_at_ns)
    }
}
