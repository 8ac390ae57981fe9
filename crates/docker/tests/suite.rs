//! The door before a real engine, spoken to byte by byte.
//!
//! Needs root and the executables beside this one: `cargo build -p shim -p corten` first.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "as in any test; a table of cases is as long as it is"
)]

#[path = "suite/client.rs"]
mod client;
#[path = "suite/commits.rs"]
mod commits;
#[path = "suite/door.rs"]
mod door;
#[path = "suite/events.rs"]
mod events;
#[path = "suite/files.rs"]
mod files;
#[path = "suite/health.rs"]
mod health;
#[path = "suite/images.rs"]
mod images;
#[path = "suite/lend.rs"]
mod lend;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/mounts.rs"]
mod mounts;
#[path = "suite/namespaces.rs"]
mod namespaces;
#[path = "suite/networks.rs"]
mod networks;
#[path = "suite/resources.rs"]
mod resources;
#[path = "suite/security.rs"]
mod security;
#[path = "suite/streams.rs"]
mod streams;
#[path = "suite/websocket.rs"]
mod websocket;
#[path = "suite/wrong.rs"]
mod wrong;
