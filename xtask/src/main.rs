//! The project's own chores, run as `cargo xtask <chore>`.
#![forbid(unsafe_code)]
// A chore is a command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

mod protos;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["protos"] => protos::run(false),
        ["protos", "--check"] => protos::run(true),
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("usage: cargo xtask tidy | protos [--check]");
            ExitCode::from(2)
        }
    }
}
