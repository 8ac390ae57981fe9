//! The kernel: the only unsafe code of the workspace.
//!
//! One file per subsystem. Everything is a thin wrapper: the kernel's own semantics and errors, descriptors as
//! owned or borrowed values, no policy. What rustix offers is used directly by the callers; here is what it lacks,
//! and what needs `unsafe`. [`child`] is the one place that does more: it is the code that runs in a freshly cloned
//! process, where nothing may be allocated.

pub mod bpf;
pub mod capability;
pub mod child;
pub mod clone;
pub mod fork;
pub mod limit;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod path;
pub mod pidfd;
pub mod process;
pub mod pty;
pub mod scheduling;
pub mod seccomp;
pub mod shutdown;
pub mod signal;
pub mod socket;
mod syscall;
pub mod unshare;
pub mod user_namespace;
