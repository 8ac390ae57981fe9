//! End-to-end tests: helpers.
#![forbid(unsafe_code)]
