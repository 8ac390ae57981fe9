//! The command line: one file per command.
#![forbid(unsafe_code)]
