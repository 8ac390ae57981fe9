//! The real process, with containers that are network namespaces of the tests' own.
#![allow(clippy::unwrap_used)]

#[path = "suite/fixture.rs"]
mod fixture;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/names.rs"]
mod names;
#[path = "suite/ports.rs"]
mod ports;
