//! What a process says about itself: prctl(2), and its start time and kin in proc(5); and what it hands down to its children.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::syscall::{self, Result};

/// Makes orphaned descendants our children (`PR_SET_CHILD_SUBREAPER`).
pub fn become_subreaper() -> Result<()> {
    // SAFETY: this option takes one number and no pointer.
    let returned = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    syscall::check(returned.into()).map(drop)
}

/// Asks for `signal` when the thread that created us ends (`PR_SET_PDEATHSIG`).
pub fn die_with_parent(signal: i32) -> Result<()> {
    // SAFETY: this option takes one number and no pointer.
    let returned = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    syscall::check(returned.into()).map(drop)
}

/// Hides `/proc/self` from other users and forbids ptrace and core dumps (`PR_SET_DUMPABLE`).
pub fn forbid_dumps() -> Result<()> {
    // SAFETY: this option takes one number and no pointer.
    let returned = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    syscall::check(returned.into()).map(drop)
}

/// The descriptor that the first one of those that are handed down becomes.
const FIRST_HANDED_DOWN: i32 = 3;

/// More descriptors than anybody hands down.
const ABOVE_HANDED_DOWN: i32 = 64;

/// Gives the child these descriptors as 3, 4 and so on, beside its standard streams.
pub fn hand_down(command: &mut Command, descriptors: &[&OwnedFd]) -> Result<()> {
    // Out of the way first: one of them may have the number that another becomes.
    let above = |descriptor: &&OwnedFd| rustix::io::fcntl_dupfd_cloexec(*descriptor, ABOVE_HANDED_DOWN);
    let above: Vec<OwnedFd> = descriptors.iter().map(above).collect::<Result<_>>()?;
    let in_child = move || {
        for (descriptor, number) in above.iter().zip(FIRST_HANDED_DOWN..) {
            // SAFETY: plain numbers. In the child nothing else knows what was open under this one.
            syscall::check(unsafe { libc::dup2(descriptor.as_raw_fd(), number) }.into())?;
        }
        Ok(())
    };
    // SAFETY: the closure makes plain system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(in_child) };
    Ok(())
}

/// When a process started, in clock ticks since boot: with its number it identifies it across a pid's reuse.
///
/// `None` when there is no such process.
pub fn start_time_ticks(pid: u32) -> Option<u64> {
    start_time_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/PID/stat`.
fn start_time_in_stat(stat: &str) -> Option<u64> {
    after_name(stat)?.nth(19)?.parse().ok()
}

/// Whose child a process is, and of which session, by their numbers in our pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    pub parent: u32,
    pub session: u32,
}

/// `None` when there is no such process.
pub fn kin(pid: u32) -> Option<Kin> {
    kin_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 4 and 6 of `/proc/PID/stat`.
fn kin_in_stat(stat: &str) -> Option<Kin> {
    let mut fields = after_name(stat)?;
    let parent = fields.nth(1)?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Kin { parent, session })
}

/// The fields of `/proc/PID/stat` from the third on. The command's name, in parentheses, may itself hold spaces and
/// parentheses.
fn after_name(stat: &str) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(after_name.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_behind_a_hostile_name() {
        let stat = "7 (a) b (c) S 1 7 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        assert_eq!(start_time_in_stat(stat), Some(4242));
        assert_eq!(kin_in_stat(stat), Some(Kin { parent: 1, session: 8 }));
        assert_eq!(start_time_in_stat("7 nonsense"), None);
    }

    #[test]
    fn own_start_time_and_kin_are_known() {
        assert_eq!(kin(std::process::id()).map(|kin| kin.parent), Some(std::os::unix::process::parent_id()));
        assert!(start_time_ticks(std::process::id()).is_some());
        assert_eq!(start_time_ticks(u32::MAX), None);
    }
}
