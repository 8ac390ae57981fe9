//! Wire types and stubs, error codes and their status.
//!
//! Types in here are what travels between processes; they stop at the doors and at the shim's service.
#![forbid(unsafe_code)]

pub mod code;
pub mod docker;
