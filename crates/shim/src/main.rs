//! The shim executable.
fn main() {}
