//! Resource limits: prlimit(2).
#![allow(unsafe_code)]

use rustix::io::Errno;

use crate::syscall::{self, Result};

/// A limit to set. Nothing here allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_…`, by number.
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
    /// What is refused is lowered to what is allowed.
    pub is_default: bool,
}

impl Limit {
    /// Sets it for a process, by its number in our pid namespace; 0 is the calling one. Why it had to be lowered, if it had.
    pub fn apply(&self, pid: u32) -> Result<Option<Errno>> {
        let pid = i32::try_from(pid).map_err(|_| Errno::SRCH)?;
        let wanted = libc::rlimit64 { rlim_cur: self.soft, rlim_max: self.hard };
        match set(pid, self.resource, &wanted) {
            Err(errno @ Errno::PERM) if self.is_default => {
                let allowed = hard(pid, self.resource)?.min(self.hard);
                let lowered = libc::rlimit64 { rlim_cur: self.soft.min(allowed), rlim_max: allowed };
                set(pid, self.resource, &lowered)?;
                Ok(Some(errno))
            }
            other => other.map(|()| None),
        }
    }
}

fn set(pid: i32, resource: u32, limit: &libc::rlimit64) -> Result<()> {
    // SAFETY: `limit` is valid; the old limit is not asked for.
    let returned = unsafe { libc::prlimit64(pid, resource, limit, std::ptr::null_mut()) };
    syscall::check(returned.into()).map(drop)
}

fn hard(pid: i32, resource: u32) -> Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable; no new limit is given.
    let returned = unsafe { libc::prlimit64(pid, resource, std::ptr::null(), &mut limit) };
    syscall::check(returned.into())?;
    Ok(limit.rlim_max)
}
