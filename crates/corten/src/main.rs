//! The executable: picks the applet.
//!
//! `corten daemon` is the daemon, `corten worker` the confined process that unpacks images, `corten net` the one that
//! answers for names and holds ports, `corten config default` prints
//! the daemon's configuration; everything else, and everything under the name `docker`, is the command line.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map_while(|word| word.to_str()).collect();
    match words[..] {
        ["daemon", ..] => daemon::main(&rest(&arguments)),
        ["worker", ..] => image::worker::main(&rest(&arguments)),
        ["net", ..] => resident::main(&rest(&arguments)),
        ["config", "default"] => print(&daemon::config_default()),
        _ => cli::main(arguments),
    }
}

/// What follows the applet's name.
fn rest(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect()
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
