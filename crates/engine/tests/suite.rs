//! The engine on the real kernel, with real shims.
//!
//! Needs root and the executables beside this one: `cargo build -p shim -p corten` first.

#[path = "suite/host.rs"]
mod host;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/logs.rs"]
mod logs;
#[path = "suite/recovery.rs"]
mod recovery;
