//! The worker applet on its own, for the tests of this crate. Arguments in front that begin with `--` only mark the
//! process, so that a test can tell its worker from others.

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).skip_while(|word| word.starts_with("--")).collect();
    image::worker::main(&arguments)
}
