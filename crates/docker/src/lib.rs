//! The Docker door: the Docker Engine API (<https://docs.docker.com/reference/api/engine/>) over the engine.
//!
//! A request goes `serve` → `route` → one handler in the file of its noun → engine; an engine error becomes Docker's status
//! and `{"message": …}`. The door holds no state and no policy: it translates. What it does not translate yet it refuses.
#![forbid(unsafe_code)]

mod answer;
mod containers;
mod detach;
mod events;
mod exec;
mod hijack;
mod images;
mod networks;
mod request;
mod route;
mod serve;
mod system;
mod upload;
mod volumes;
mod when;

pub use serve::serve;

/// The newest version of the API that the door speaks, and the oldest.
pub(crate) const API_VERSION: (u32, u32) = (1, 51);
pub(crate) const MIN_API_VERSION: (u32, u32) = (1, 24);
