//! The daemon: configuration, wiring, listeners.
#![forbid(unsafe_code)]
