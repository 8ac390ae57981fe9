//! The applet on its own, for the tests of this crate.

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    resident::main(&arguments)
}
