//! The shim: parent of a container's processes, owner of their streams, keeper of how they ended.
//!
//! One thread, no async runtime: a loop around poll(2). It outlives the daemon, and the daemon finds it again by its sockets:
//!
//! ```text
//! <shim dir>/task.sock    ttrpc: containerd.task.v2/v3.Task, corten.shim.v1.Shim
//! <shim dir>/attach.sock  streams of processes
//! <shim dir>/exit.json    how the first process ended, before anybody is told
//! <shim dir>/log          its own messages
//! ```
#![forbid(unsafe_code)]
// Its messages go to its own log, which is its standard error.

pub mod attach;
pub mod connection;
pub mod log;
pub mod process;
pub mod record;
pub mod service;
pub mod shim;
pub mod streams;

pub use shim::Shim;
