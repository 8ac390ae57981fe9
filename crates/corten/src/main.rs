//! The executable: picks the applet.
fn main() {}
