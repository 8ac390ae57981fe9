//! Which processes there are, and signals to all of them.
//!
//! A process number may belong to somebody else a moment after it was read. So a process is opened (pidfd) first and
//! signalled only if its number is still listed after that: what is listed was, at that moment, in the group, and
//! the descriptor cannot change hands.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::remove::MAX_GROUPS;
use super::{Cgroup, Error, Result};

/// More processes than the kernel has numbers for.
const MAX_PROCESSES: usize = 4 * 1024 * 1024;

/// A killed process is gone within milliseconds, unless it waits for a broken disk or its core is being dumped.
const KILL_SECONDS: u64 = 10;

const SIGKILL: i32 = 9;

impl Cgroup {
    /// The processes in the groups and below them, by their numbers in our pid namespace.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let top = self.members()?;
        let failed = |errno: Errno| match errno {
            Errno::TOOBIG => Error::Populous { path: top.host_path(), limit: MAX_GROUPS },
            source => Error::Read { path: top.host_path(), source: source.into() },
        };
        let mut below = Vec::new();
        match top.collect_below(&mut below) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        }
        let mut processes = Vec::new();
        for directory in std::iter::once(top).chain(&below) {
            match directory.try_read("cgroup.procs") {
                Ok(list) => processes.extend(list.lines().filter_map(|number| number.parse::<u32>().ok())),
                // Removed meanwhile; or threaded, then its processes are listed above.
                Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if processes.len() > MAX_PROCESSES {
                return Err(Error::Populous { path: top.host_path(), limit: MAX_PROCESSES });
            }
        }
        // Zero stands for processes that our pid namespace does not see.
        processes.retain(|&process| process != 0);
        processes.sort_unstable();
        processes.dedup();
        Ok(processes)
    }

    /// Sends a signal to every process.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let opened: Vec<_> = self
            .processes()?
            .into_iter()
            .filter_map(|process| Some((process, linux::pidfd::open(process).ok()?)))
            .collect();
        let listed = self.processes()?;
        for (process, pidfd) in opened {
            if listed.binary_search(&process).is_err() {
                continue;
            }
            match linux::pidfd::send_signal(pidfd.as_fd(), signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(source) => return Err(Error::Signal { signal, process, source }),
            }
        }
        Ok(())
    }

    /// Kills every process, frozen ones too, and returns when none is left.
    pub fn kill_all(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(KILL_SECONDS);
        let Some(unified) = self.unified() else {
            return self.kill_one_by_one(deadline);
        };
        match unified.try_write("cgroup.kill", "1") {
            Ok(()) => {}
            Err(Errno::NODEV) => return Ok(()),
            // Kernels before 5.14 lack it, and a threaded group refuses it.
            Err(Errno::NOENT | Errno::OPNOTSUPP) => return self.kill_one_by_one(deadline),
            Err(source) => {
                let (controller, path) = ("cgroup".to_owned(), unified.file_path("cgroup.kill"));
                return Err(Error::Write { controller, path, value: "1".to_owned(), help: None, source });
            }
        }
        // Somebody else may have used the freezer of v1 beside ours; what it holds does not die.
        if let Some(freezer) = self.controlled_by("freezer") {
            let _ = freezer.try_write("freezer.state", "THAWED");
        }
        if unified.wait_for("populated 0", Duration::from_secs(KILL_SECONDS))? {
            return Ok(());
        }
        self.survivors()
    }

    /// Freezing first keeps a group that forks all the time from outrunning us.
    fn kill_one_by_one(&self, deadline: Instant) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        loop {
            if self.processes()?.is_empty() {
                return Ok(());
            }
            // Whether it succeeds does not matter: each round kills all that it sees.
            let _ = self.freeze();
            let signalled = self.signal_all(SIGKILL);
            self.thaw()?;
            signalled?;
            if Instant::now() > deadline {
                return self.survivors();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn survivors(&self) -> Result<()> {
        let processes = self.processes()?.len();
        if processes == 0 {
            return Ok(());
        }
        Err(Error::KillTimeout { path: self.members()?.host_path(), processes, seconds: KILL_SECONDS })
    }
}
