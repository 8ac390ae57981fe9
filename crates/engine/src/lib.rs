//! The services, a file per noun: policy lives here, once.
//!
//! Doors translate one protocol into calls of [`Engine`] and its errors back into that protocol's codes. Types in
//! here are the engine's own; wire types stop at the doors and at the shim's service.
#![forbid(unsafe_code)]

mod blocking;
mod clock;
pub mod containers;
mod disk;
mod engine;
mod error;
pub mod events;
pub mod exchange;
pub mod execs;
mod gc;
pub mod guests;
pub mod images;
pub mod info;
pub mod logs;
mod monitor;
pub mod namespaces;
pub mod networks;
pub mod prune;
mod random;
mod recovery;
mod restart;
pub mod runtimes;
mod signals;
mod tasks;
mod usage;
pub mod volumes;

pub use engine::{Config, Engine, FabricConfig};
pub use error::{Error, Result};
pub use monitor::INTERVAL as RESTART_INTERVAL;
pub use namespaces::{Namespace, Scope};
