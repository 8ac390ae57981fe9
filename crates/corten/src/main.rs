//! The executable: picks the applet.
//!
//! `corten daemon` is the daemon, `corten worker` the confined process that unpacks images, `corten net` the one that
//! answers for names and holds ports, `corten config default` prints
//! the daemon's configuration, `corten containerd` and the name `containerd` are the daemon as containerd, `corten ctr` and the name `ctr` are the client of containerd's API; everything else, and everything under the name `docker`, is the command line.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map_while(|word| word.to_str()).collect();
    match words[..] {
        // Under every name, because a daemon starts them from its own executable.
        ["worker", ..] => image::worker::main(&after(&arguments, 2)),
        ["net", ..] => resident::main(&after(&arguments, 2)),
        _ if called_as(&arguments, "ctr") => ctr::main("ctr", arguments.into_iter().skip(1)),
        ["ctr", ..] => ctr::main("corten ctr", arguments.into_iter().skip(2)),
        _ if called_as(&arguments, "containerd") => daemon::as_containerd::main(&after(&arguments, 1)),
        ["containerd", ..] => daemon::as_containerd::main(&after(&arguments, 2)),
        // What shims make of the daemon's executable, if they publish through it.
        ["--address", _, "publish", ..] => daemon::as_containerd::main(&after(&arguments, 1)),
        ["daemon", ..] => daemon::main(&after(&arguments, 2)),
        ["config", "default"] => print(&daemon::config_default()),
        _ => cli::main(arguments),
    }
}

/// Whether the program has this name, by which scripts call it.
fn called_as(arguments: &[OsString], name: &str) -> bool {
    arguments.first().is_some_and(|program| Path::new(program).file_name().is_some_and(|last| last == name))
}

/// What follows the first words.
fn after(arguments: &[OsString], words: usize) -> Vec<String> {
    arguments.iter().skip(words).map(|word| word.to_string_lossy().into_owned()).collect()
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
