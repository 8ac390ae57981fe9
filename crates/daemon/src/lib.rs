//! The daemon: configuration, wiring, listeners.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// `corten daemon [--config FILE] [--root DIR] [--state DIR] [--log-level LEVEL] [--log-format text|json]`; `args`
/// are those after `daemon`.
pub fn main(_args: &[String]) -> ExitCode {
    todo!()
}

/// The text of `config.toml` with every key at its default, and what each means.
pub fn config_default() -> String {
    todo!()
}
