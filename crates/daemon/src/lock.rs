//! One daemon for each state directory: a lock on `daemon.lock`, and `daemon.pid` for people and scripts.
//!
//! The kernel drops the lock with the process, so that a killed daemon leaves none behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// Held as long as the daemon runs.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
    pid_file: PathBuf,
}

impl StateLock {
    /// Makes the state directory with this mode, and takes its lock.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that holds it.
    pub(crate) fn take(state: &Path, mode: u32) -> Result<StateLock, Error> {
        let failed = |what| move |path: PathBuf| move |source| Error::File { what, path, source };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(state)
            .map_err(failed("create")(state.to_owned()))?;
        let path = state.join("daemon.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open")(path.clone()))?;
        let pid_file = state.join("daemon.pid");
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned();
            return Err(Error::Locked { state: state.to_owned(), pid });
        }
        let mut text = File::create(&pid_file).map_err(failed("create")(pid_file.clone()))?;
        writeln!(text, "{}", std::process::id()).map_err(failed("write")(pid_file.clone()))?;
        Ok(StateLock { _file: file, pid_file })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // The lock is what counts; a stale file only misleads people for a while.
        drop(fs::remove_file(&self.pid_file));
    }
}
