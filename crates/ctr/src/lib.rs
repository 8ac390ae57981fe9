//! `corten ctr`: a client of containerd's API with the commands, flags and output of containerd's own `ctr` 2.x.
//!
//! [`grammar`] finds the command and its flags in a static table ([`commands`]), which [`help`] prints too; a file per
//! group of commands asks the daemon through [`client`] and prints. The conventions are those of `ctr`'s parser: `-rm` is
//! `--rm`, flags come before operands, a flag that may be repeated is not split at commas.
//!
//! What is better here: the namespace may be given behind the command, too, and an image that is
//! missing in this namespace and present in another one is pointed at.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

mod blocking;
mod client;
mod cni;
mod commands;
mod containers;
mod content;
mod documents;
mod error;
mod events;
mod grammar;
mod help;
mod images;
mod install;
mod labels;
mod leases;
mod local;
mod metrics;
mod namespaces;
mod output;
mod process;
mod registry;
mod run;
mod runtime;
mod sandboxes;
mod server;
mod shim;
mod snapshots;
mod spec;
mod stdio;
mod table;
mod tasks;
mod text;
mod transfer;
mod wire;

use error::Error;
use grammar::Parsed;

/// Runs the command line `arguments`, without the program's name. `name` is what the program is called in help.
pub fn main(name: &str, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    ExitCode::from(match grammar::parse(&words) {
        Ok(Parsed::Help(path)) => output::finish(output::text(&help::of(name, &path))),
        Ok(Parsed::Version) => {
            output::finish(output::line(&format!("{name} corten {}", env!("CARGO_PKG_VERSION"))))
        }
        Ok(Parsed::Call { action, call }) => run(action, &call),
        Err(failure) => grammar::report(name, &failure),
    })
}

fn run(action: grammar::Action, call: &grammar::Call) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return output::finish(Err(Error::Runtime(source))),
    };
    let outcome = runtime.block_on(async {
        let timeout = call.duration("timeout").filter(|timeout| !timeout.is_zero());
        match timeout {
            None => action(call).await,
            Some(timeout) => match tokio::time::timeout(timeout, action(call)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::Deadline),
            },
        }
    });
    // Reading of the terminal goes on in a thread that nobody can end: it is left behind.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => output::finish(Err(error)),
    }
}
