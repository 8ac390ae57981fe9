//! The containerd door: containerd's API over the engine. What is here so far is its filter language.
#![forbid(unsafe_code)]

pub mod filter;
