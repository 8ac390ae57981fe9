//! Who the process is: credentials(7).

use rustix::fs::{Gid, Uid};

use crate::syscall::{self, Result};

/// Becomes this user. Permitted capabilities survive, effective ones are set by the next step.
///
/// The supplementary groups are always set: those of the parent must not be inherited.
pub(super) fn assume(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    rustix::thread::set_keep_capabilities(true)?;
    set_groups(groups)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)
}

/// The system call itself: the C library's wrapper would wake all threads, of which this process has no others.
#[allow(unsafe_code)]
fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: pointer and length describe one valid slice; the kernel only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    syscall::check(returned).map(drop)
}
