//! `system dial-stdio`: the daemon's socket on stdin and stdout, for a client that comes through `ssh`.

use std::io;
use std::thread;

use rustix::io::Errno;

use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::Operands;
use crate::frames::Source;
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "",
    about: "Proxy the stdio stream to the daemon connection",
    operands: Operands::NONE,
    flags: Vec::new,
    refused: &[],
    run: |cli, _| run(cli),
};

/// What is copied at once.
const CHUNK: usize = 64 * 1024;

fn run(cli: &Cli) -> Result<u8, Error> {
    let (mut reader, mut writer) = cli.with_client(async |client| client.raw().await)?;
    // It may wait for input that never comes: the end of the answers is the end of all.
    thread::spawn(move || {
        let _lost = io::copy(&mut io::stdin().lock(), &mut writer);
        let _gone = writer.end();
    });
    let mut buffer = vec![0; CHUNK];
    loop {
        match io::Read::read(&mut reader, &mut buffer) {
            Ok(0) => return Ok(0),
            Ok(count) => output::pass_on(Source::Stdout, &buffer[..count])?,
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            Err(error) => return Err(Error::Lost(error)),
        }
    }
}
