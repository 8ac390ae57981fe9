//! The Docker door: the Engine API over the engine.
#![forbid(unsafe_code)]
