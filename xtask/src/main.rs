//! The project's own chores, run as `cargo xtask <chore>`.
#![forbid(unsafe_code)]
// A chore is a command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("usage: cargo xtask tidy");
            ExitCode::from(2)
        }
    }
}
