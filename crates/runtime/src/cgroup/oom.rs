//! Being told when the kernel kills for want of memory.
//!
//! On v1 an eventfd is written to just before a kill (`cgroup-v1/memory.rst`, "OOM Control"). On v2 `memory.events` becomes ready when
//! one of its numbers has changed (`cgroup-v2.rst`, "Memory Interface Files"), the number of kills or another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::stats::value_of;
use super::{Cgroup, Error, Result, Version};

/// `memory.events` has some hundred bytes.
const EVENTS_SIZE: usize = 1024;

/// Becomes ready when there may be a kill.
#[derive(Debug)]
pub struct OomWatch(Source);

#[derive(Debug)]
enum Source {
    /// v1.
    Events(OwnedFd),
    /// v2: `memory.events`, and the kills that were in it.
    Counted { file: OwnedFd, kills: u64 },
}

impl Cgroup {
    /// Watches for kills from now on; `None` without a memory controller.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some(directory) = self.controlled_by("memory") else { return Ok(None) };
        if directory.hierarchy().version() == Version::V2 {
            let file = directory.open_file("memory.events", OFlags::RDONLY)?;
            let kills = kills(file.as_fd()).unwrap_or_default();
            return Ok(Some(OomWatch(Source::Counted { file, kills })));
        }
        let control = directory.open_file("memory.oom_control", OFlags::RDONLY)?;
        let (events, line) = linux::memory::oom_events(control.as_fd()).map_err(|source| Error::Read {
            path: directory.file_path("memory.oom_control"),
            source: source.into(),
        })?;
        directory.write_core("cgroup.event_control", &line)?;
        Ok(Some(OomWatch(Source::Events(events))))
    }
}

impl OomWatch {
    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        match self.0 {
            Source::Events(_) => PollFlags::IN,
            Source::Counted { .. } => PollFlags::PRI,
        }
    }

    /// Whether there was a kill, or is just going to be one, since the last time. It is not ready any more then.
    pub fn take(&mut self) -> bool {
        match &mut self.0 {
            Source::Events(events) => rustix::io::read(events, &mut [0; 8]).is_ok(),
            Source::Counted { file, kills: known } => {
                // A group that is gone has nothing to tell.
                let now = kills(file.as_fd()).unwrap_or(*known);
                std::mem::replace(known, now) < now
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Events(descriptor) | Source::Counted { file: descriptor, .. } => descriptor.as_fd(),
        }
    }
}

fn kills(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut bytes = [0; EVENTS_SIZE];
    let length = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(value_of(&String::from_utf8_lossy(&bytes[..length]), "oom_kill"))
}
