//! The OCI runtime core: a pure plan, one clone, a flat list of steps.
//!
//! ```text
//! Spec ──plan──▶ Plan {opens, namespaces, steps}      pure; prints; tested without a kernel
//!                  │ open: every file, mount and namespace that the child needs, by the parent
//!                  ▼
//!               one clone3 ──▶ child runs the steps, allocating nothing, and reports {step, errno}
//!                  │                          │ waits
//!               Container::start ─────────────┘ execve
//! ```
//!
//! Invariants:
//! * Inside a container's tree nothing is reached by a joined path: only by descriptor and openat2 in its root.
//! * The root file system is never mounted where the host can see it.
//! * A process that enters later (`exec`) finishes with the same steps as the first one: [`plan`] has one function.
//! * The calling thread's own namespaces, working directory, umask and credentials do not change.
//!
//! Implements the runtime specification 1.2: <https://github.com/opencontainers/runtime-spec/blob/main/spec.md>.
#![forbid(unsafe_code)]

pub mod cgroup;
mod container;
mod create;
pub mod defaults;
mod error;
mod exec;
mod hooks;
mod launch;
mod open;
pub mod plan;
mod rootfs;
pub mod seccomp;
mod stdio;
pub mod user;

pub use container::{Container, Descriptors, Filter, State};
pub use create::{Create, Created, cgroup_path, create};
pub use error::{Error, Result, Warning};
pub use exec::{Exec, Process};
pub use hooks::Hooks;
pub use linux::pidfd::Exit;
pub use rootfs::Rootfs;
pub use stdio::{Stdio, TerminalSize};
