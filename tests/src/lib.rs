//! End-to-end tests: a private installation of the real executables, and what a test asks of it.
//!
//! A [`Host`] has its own root, state and cgroup parent, so that tests run beside each other and beside a real
//! installation. When it is dropped it removes its containers, stops its daemon and fails the test if anything is
//! left: a process, a mount, a cgroup.
#![forbid(unsafe_code)]

pub mod containerd;
pub mod host;
pub mod leaks;
pub mod network;
pub mod peers;
pub mod registry;
pub mod ssh;
pub mod terminal;
pub mod tls;
