//! Removing groups: children first, in every hierarchy, with patience for what the kernel still puts away.

use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::directory::Directory;
use super::{Cgroup, Error, Result};

/// A group stays busy for a moment after its last process ended: waits of 1, 2, 4, … 128 ms, a quarter of a second.
const RETRIES: u32 = 8;

/// Groups that a container made in its own group; the kernel's default bound per group is far above any use.
pub(super) const MAX_GROUPS: usize = 4096;

impl Cgroup {
    /// Removes the groups; refuses while a process is inside. Removing twice is fine.
    ///
    /// It removes what it can in every hierarchy, and tells the first failure.
    pub fn remove(&self) -> Result<()> {
        let mut pending: Vec<&Directory> = self.directories.iter().collect();
        let mut wait = Duration::from_millis(1);
        for round in 0..=RETRIES {
            let mut failures = Vec::new();
            pending.retain(|directory| match tree(directory) {
                Ok(()) | Err(Errno::NOENT) => false,
                Err(errno) => {
                    failures.push(errno);
                    true
                }
            });
            let (Some(directory), Some(&source)) = (pending.first(), failures.first()) else {
                return Ok(());
            };
            let may_pass = failures.iter().any(|errno| matches!(*errno, Errno::BUSY | Errno::NOTEMPTY));
            if round == RETRIES || !may_pass {
                let help = (source == Errno::BUSY).then_some("processes are still running in it");
                return Err(Error::Remove { path: directory.host_path(), help, source });
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        Ok(())
    }
}

/// Removes a group and those below it, once, without waiting.
pub(super) fn tree(directory: &Directory) -> Result<(), Errno> {
    let mut groups = Vec::new();
    directory.collect_below(&mut groups)?;
    // Parents come before their children in the list.
    for group in groups.iter().rev() {
        match group.rmdir() {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    directory.rmdir()
}

impl Directory {
    fn rmdir(&self) -> Result<(), Errno> {
        rustix::fs::unlinkat(self.hierarchy().root(), self.relative(), AtFlags::REMOVEDIR)
    }

    /// All groups below this one, parents first. `TOOBIG`: more than [`MAX_GROUPS`].
    pub(super) fn collect_below(&self, groups: &mut Vec<Directory>) -> Result<(), Errno> {
        let start = groups.len();
        for name in self.children()? {
            match self.open_child(&name) {
                Ok(child) => groups.push(child),
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(errno),
            }
        }
        let mut next = start;
        while next < groups.len() {
            if groups.len() > MAX_GROUPS {
                return Err(Errno::TOOBIG);
            }
            let mut found = Vec::new();
            for name in groups[next].children()? {
                found.extend(groups[next].open_child(&name));
            }
            groups.extend(found);
            next += 1;
        }
        Ok(())
    }
}
