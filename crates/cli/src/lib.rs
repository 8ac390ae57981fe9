//! The command line: one file per command.
#![forbid(unsafe_code)]

mod error;
mod flags;
mod frames;
mod json;
mod size;
mod table;
mod template;
mod time;
