//! The shim executable: `corten-shim spare --dir DIR`.
//!
//! A spare shim listens in its directory, says `ready` on standard output and waits to be bound. While it is spare it ends
//! with the daemon, whose end it sees on its standard input.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use shim::Shim;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        ["spare", "--dir", directory] => spare(Path::new(directory)),
        ["-v" | "--version"] => {
            eprintln!("corten-shim {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("corten-shim: usage: corten-shim spare --dir DIR");
            eprintln!("hint: to be started by containerd (`start`, `delete`) is not there yet");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten-shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn spare(directory: &Path) -> io::Result<()> {
    // A session of its own: what ends the daemon's terminal does not end containers. The leader of a process group cannot
    // begin one, and then is one already.
    let _is_leader = rustix::process::setsid();
    linux::process::become_subreaper()?;
    let sockets: [PathBuf; 2] = ["task.sock", "attach.sock"].map(|name| directory.join(name));
    // Sockets are private to their owner from the moment that they exist.
    rustix::process::umask(Mode::from_raw_mode(0o177));
    let listeners = [UnixListener::bind(&sockets[0])?, UnixListener::bind(&sockets[1])?];
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let lifeline = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let mut told = io::stdout();
    told.write_all(b"ready\n")?;
    told.flush()?;
    redirect(directory)?;
    std::env::set_current_dir("/")?;
    let [task, attach] = listeners;
    Shim::new(directory, task, attach, lifeline)?.run()?;
    for socket in sockets {
        // The daemon may have removed the directory already.
        drop(std::fs::remove_file(socket));
    }
    Ok(())
}

/// Standard input and output to nowhere, standard error to our log.
fn redirect(directory: &Path) -> io::Result<()> {
    let null: OwnedFd = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join("log"))?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(log.as_fd())?;
    Ok(())
}
