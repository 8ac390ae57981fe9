//! The kernel: the only unsafe code of the workspace.
pub mod seccomp;
