//! The command line: a client of the Docker Engine API, one file per command, grouped by noun.
//!
//! A run goes through [`command`] (which command, with which words), the command's own file (what is asked), and
//! [`client`] (asking it). Commands print with [`output`]; what they fail with is an [`error::Error`], which knows the exit
//! code and what to do about it. Nothing in here knows the engine: any daemon that speaks the API will do.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

mod attach;
mod catalog;
mod client;
mod command;
mod container;
mod context;
mod download;
mod each;
mod error;
mod filters;
mod flags;
mod frames;
mod help;
mod image;
mod inspect;
mod json;
mod launch;
mod lines;
mod namespace;
mod nerdctl;
mod network;
mod output;
mod prune;
mod registry;
mod settings;
mod size;
mod system;
mod table;
mod template;
mod terminal;
mod time;
mod volume;

/// Runs the command line `arguments`, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default();
    let words: Vec<OsString> = arguments.collect();
    if words.first().is_some_and(|word| word == launch::APPLET) {
        return launch::become_daemon(words.into_iter().skip(1));
    }
    // Under a name that scripts call, the program says that name.
    let name = std::path::Path::new(&name).file_name().and_then(|name| name.to_str());
    let known = ["docker", "nerdctl"].into_iter().find(|known| name == Some(*known));
    ExitCode::from(command::run(known.unwrap_or("corten"), &words))
}
