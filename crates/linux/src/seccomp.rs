//! Classic BPF programs for seccomp(2), as the kernel takes them.
#![allow(unsafe_code)]

use rustix::io::Errno;

use crate::syscall::{self, Result};

/// One instruction of a classic BPF program: `struct sock_filter` of `<linux/filter.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SockFilter {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// Loads a filter for the calling thread and what it will execute; there is no way back.
///
/// Needs `no_new_privs` or `CAP_SYS_ADMIN`. Allocates nothing.
pub fn load(instructions: &[SockFilter], flags: u32) -> Result<()> {
    let len = u16::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?;
    let program = SockFprog { len, filter: instructions.as_ptr() };
    // SAFETY: `program` describes exactly the slice, which outlives the call; the kernel copies and verifies it.
    let returned =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    syscall::check(returned).map(drop)
}
