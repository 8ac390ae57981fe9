//! What a process says about itself: prctl(2), and its start time in proc(5).
#![allow(unsafe_code)]

use std::fs;

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

/// When a process started, in clock ticks since boot: with its number it identifies it across a pid's reuse.
///
/// `None` when there is no such process.
pub fn start_time_ticks(pid: u32) -> Option<u64> {
    start_time_in_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/PID/stat`. The command's name, in parentheses, may itself hold spaces and parentheses.
fn start_time_in_stat(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_read_behind_a_hostile_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        assert_eq!(start_time_in_stat(stat), Some(4242));
        assert_eq!(start_time_in_stat("7 nonsense"), None);
    }

    #[test]
    fn own_start_time_is_known() {
        assert!(start_time_ticks(std::process::id()).is_some());
        assert_eq!(start_time_ticks(u32::MAX), None);
    }
}
