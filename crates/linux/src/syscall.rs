//! System calls that neither rustix nor libc wraps, as numbers and words.
#![allow(unsafe_code)]

use rustix::io::Errno;

/// Result of a system call: what it returned, or why it failed.
pub(crate) type Result<T> = rustix::io::Result<T>;

/// Turns libc's `-1` and `errno` into a result.
pub(crate) fn check(returned: libc::c_long) -> Result<libc::c_long> {
    if returned == -1 {
        // SAFETY: it only returns where the calling thread's errno is.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: that place is valid as long as the thread.
        let errno = unsafe { *location };
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(returned)
}
