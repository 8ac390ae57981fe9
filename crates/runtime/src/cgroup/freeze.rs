//! Stopping all processes of a container at once, and letting them go on.
//!
//! With a v2 hierarchy, also one without controllers, its `cgroup.freeze` is used: what it froze can still be killed.
//! Else the `freezer` controller of v1, where killing waits for the thaw.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::directory::Directory;
use super::{Cgroup, Error, Result};

/// Freezing takes milliseconds, unless a process waits for a broken disk.
const FREEZE_SECONDS: u64 = 2;

/// The v1 freezer can be outrun by a process that forks all the time, and must be told again.
const V1_POLL: Duration = Duration::from_millis(2);

impl Cgroup {
    /// Stops all processes. When that does not succeed in time they all go on.
    pub fn freeze(&self) -> Result<()> {
        let frozen = match self.freezer()? {
            Freezer::Unified(directory) => {
                directory.write_core("cgroup.freeze", "1")?;
                directory.wait_for("frozen 1", Duration::from_secs(FREEZE_SECONDS))?
            }
            Freezer::Controller(directory) => freeze_v1(directory)?,
        };
        if frozen {
            return Ok(());
        }
        self.thaw()?;
        Err(Error::FreezeTimeout { path: self.members()?.host_path(), seconds: FREEZE_SECONDS })
    }

    /// Lets all processes go on.
    pub fn thaw(&self) -> Result<()> {
        match self.freezer()? {
            Freezer::Unified(directory) => directory.write_core("cgroup.freeze", "0"),
            Freezer::Controller(directory) => directory.write_core("freezer.state", "THAWED"),
        }
    }

    /// Whether all processes are stopped.
    pub fn is_frozen(&self) -> Result<bool> {
        match self.freezer()? {
            Freezer::Unified(directory) => Ok(says(&directory.read("cgroup.events")?, "frozen 1")),
            Freezer::Controller(directory) => Ok(directory.read("freezer.state")?.trim() == "FROZEN"),
        }
    }

    fn freezer(&self) -> Result<Freezer<'_>> {
        let unified = self.unified().map(Freezer::Unified);
        unified.or_else(|| self.controlled_by("freezer").map(Freezer::Controller)).ok_or_else(|| {
            Error::MissingController {
                controller: "freezer".to_owned(),
                file: "freezer.state".to_owned(),
                value: "FROZEN".to_owned(),
            }
        })
    }
}

enum Freezer<'a> {
    Unified(&'a Directory),
    Controller(&'a Directory),
}

fn freeze_v1(directory: &Directory) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(FREEZE_SECONDS);
    loop {
        directory.write_core("freezer.state", "FROZEN")?;
        if directory.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(V1_POLL);
    }
}

impl Directory {
    /// Waits until a line of `cgroup.events` is as given; false when it was not in time.
    pub(super) fn wait_for(&self, line: &str, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        let events = self.open_file("cgroup.events", OFlags::RDONLY)?;
        let failed = |source: rustix::io::Errno| Error::Read {
            path: self.file_path("cgroup.events"),
            source: source.into(),
        };
        loop {
            // The kernel reports the changes since the last reading of this very descriptor.
            let mut content = [0; 256];
            let length = rustix::io::pread(&events, &mut content, 0).map_err(failed)?;
            if says(&String::from_utf8_lossy(&content[..length]), line) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = Timespec::try_from(left).expect("a few seconds fit");
            match poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

fn says(content: &str, line: &str) -> bool {
    content.lines().any(|candidate| candidate == line)
}
