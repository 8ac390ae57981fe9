//! The door before a real engine, asked over its socket.
//!
//! Needs root and the executable beside this one: `cargo build -p corten` first.
#![allow(clippy::unwrap_used, reason = "as in any test")]

#[path = "suite/content.rs"]
mod content;
#[path = "suite/diff.rs"]
mod diff;
#[path = "suite/sandboxes.rs"]
mod sandboxes;
#[path = "suite/served.rs"]
mod served;
#[path = "suite/snapshots.rs"]
mod snapshots;
