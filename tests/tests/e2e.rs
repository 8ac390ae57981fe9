//! The end-to-end tests, one module for each noun.
#![forbid(unsafe_code)]

#[path = "e2e/containers.rs"]
mod containers;
