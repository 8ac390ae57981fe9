//! The shim: parent of a container's processes, owner of their streams, keeper of how they ended.
//!
//! One thread, no async runtime: a loop around poll(2) ([`shim`]). It outlives the daemon, and the daemon finds it again by
//! its sockets:
//!
//! ```text
//! <shim dir>/task.sock    ttrpc: containerd.task.v2/v3.Task, corten.shim.v1.Shim
//! <shim dir>/attach.sock  streams of processes
//! <shim dir>/exit.json    how the first process ended, before anybody is told
//! <shim dir>/log          its own messages
//! ```
//!
//! Started by containerd ([`bootstrap`]) the directory is the bundle, the socket is where containerd's shims have theirs, and
//! streams are what the client names. Two files more are there: `address`, its socket, and `init.pid`, the first
//! process, until its hooks have been told of its end.
//!
//! | noun | file |
//! |---|---|
//! | the loop, who talks to it, how processes end | `shim`, `shim/clients`, `shim/ends` |
//! | calls and answers; what is done about them | `service`; `task` |
//! | a sandbox in place of a task | `sandbox` |
//! | one process, its streams, who is attached, the log | `process`, `streams`, `attach`, `log` |
//! | what runc would keep of a container | `runc_state` |
//! | what clients of containerd name as streams, and programs that take them | `uri`, `files`, `logger` |
#![forbid(unsafe_code)]
// Its messages go to its own log, which is its standard error: there is nobody else to return an error to.

mod attach;
pub mod bootstrap;
pub mod client;
mod connection;
mod error;
mod files;
pub mod init;
mod log;
mod logger;
mod options;
mod process;
mod publish;
mod record;
mod runc_state;
mod sandbox;
mod service;
mod shim;
mod stats;
mod streams;
mod task;
mod uri;

pub use record::ExitRecord;
pub use service::VERSION;
pub use shim::{Bound, Shim};
