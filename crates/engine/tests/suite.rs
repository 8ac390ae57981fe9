//! The engine on the real kernel, with real shims.
//!
//! Needs root and the executables beside this one: `cargo build -p shim -p corten` first.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests may do what tests may; a table of cases is as long as it is"
)]

#[path = "suite/health.rs"]
mod health;
#[path = "suite/host.rs"]
mod host;
#[path = "suite/init.rs"]
mod init;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/logs.rs"]
mod logs;
#[path = "suite/recovery.rs"]
mod recovery;
#[path = "suite/runtimes.rs"]
mod runtimes;
