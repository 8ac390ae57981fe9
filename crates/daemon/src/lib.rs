//! The daemon: configuration, wiring, listeners.
//!
//! `corten daemon` reads its configuration, takes the lock of its state directory, builds everything once in `wire`,
//! and serves until it is asked to stop. Containers do not notice when it stops. Started as `containerd` it is the same daemon with
//! containerd's paths and configuration ([`as_containerd`]).
#![forbid(unsafe_code)]

pub mod as_containerd;
mod config;
mod error;
mod listen;
mod lock;
mod logging;
mod metrics;
mod wire;

use std::process::ExitCode;

use config::{Arguments, Config};
use error::Error;

/// `corten daemon [--config FILE] [--root DIR] [--state DIR] [--log-level LEVEL] [--log-format text|json]`; `args`
/// are those after `daemon`. Ends with 0 after a graceful stop, 1 after an error, 2 after wrong arguments.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::Usage(_)) => {
            eprintln!("corten daemon: {}", error.chain());
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("corten daemon: {}", error.chain());
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The text of `config.toml` with every key at its default, and what each means.
pub fn config_default() -> String {
    config::DEFAULT_TEXT.to_owned()
}

fn run(args: &[String]) -> Result<(), Error> {
    let arguments = Arguments::parse(args)?;
    if arguments.help {
        eprint!("{}", config::USAGE);
        return Ok(());
    }
    let config = Config::load(&arguments)?;
    logging::start(config.log_level, config.log_format);
    wire::run(config)
}
