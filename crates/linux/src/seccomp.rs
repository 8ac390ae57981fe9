//! Classic BPF programs for seccomp(2), as the kernel takes them.

/// One instruction of a classic BPF program: `struct sock_filter` of `<linux/filter.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SockFilter {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}
