//! The project's own chores, run as `cargo xtask <chore>`.
#![forbid(unsafe_code)]
// A chore is a command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

mod protos;
mod tidy;
mod weaken;

use std::path::Path;
use std::process::ExitCode;

use weaken::Choice;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["protos"] => protos::run(false),
        ["protos", "--check"] => protos::run(true),
        ["tidy"] => tidy::run(),
        ["weaken"] => weaken::run(root, &Choice::All),
        ["weaken", "--list"] => weaken::list(),
        ["weaken", "--sample", count] if count.parse::<usize>().is_ok() => {
            weaken::run(root, &Choice::Sample(count.parse().unwrap_or(1)))
        }
        ["weaken", name] if !name.starts_with('-') => weaken::run(root, &Choice::Named(name)),
        _ => {
            eprintln!("usage: cargo xtask tidy | protos [--check] | weaken [--list | --sample COUNT | NAME]");
            ExitCode::from(2)
        }
    }
}
