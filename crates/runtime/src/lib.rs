//! The OCI runtime core: a pure plan, one clone, a flat list of steps.
#![forbid(unsafe_code)]
pub mod cgroup;
pub mod defaults;
pub mod seccomp;
pub mod user;
