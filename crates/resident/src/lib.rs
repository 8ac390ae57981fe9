//! `corten-net`: names and published ports, in a small process that outlives the daemon.
//!
//! ```text
//! daemon ──control.sock──▶ corten-net ── a UDP and a TCP socket in each container that asks for names (its resolver)
//!          JSON, sockets               └─ a socket of the host for each published port
//! ```
//!
//! The daemon opens every socket, in the namespace where it belongs, and passes it on; this process needs no right of its own, has none, and
//! runs as nobody. It answers containers' questions for each other's names and asks the host's servers everything else; it holds
//! published ports, so that nobody else takes them, and passes on what the kernel does not translate: connections of the host to itself, over
//! the other address family, and everything while rules are missing.
//!
//! Invariants: what it is told about a container replaces what it knew, whole; what is answered to the daemon has been done (a port
//! that was given up is free); without the daemon it goes on; without the daemon and without a container it ends.
#![forbid(unsafe_code)]

mod book;
mod client;
mod dns;
mod error;
mod ports;
mod protocol;
mod resolver;
mod server;

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use linux::fork::{Side, detach};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Gid, Uid};

pub use client::Client;
pub use error::{Error, Result};
pub use protocol::{Container, Link, Membership, Port, Protocol, Resolver};

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// The applet `net`: `corten net --directory DIR`. Says `ready` when it listens, and goes on in a session of its own.
pub fn main(arguments: &[String]) -> ExitCode {
    const EXIT_USAGE: u8 = 2;
    let directory = match arguments {
        [flag, directory] if flag == "--directory" => PathBuf::from(directory),
        _ => {
            eprintln!("usage: corten net --directory DIR");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten net: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> io::Result<()> {
    let listener = listen(&directory.join("control.sock"))?;
    if detach()? == Side::Parent {
        return Ok(());
    }
    let log = rustix::fs::open(
        directory.join("log"),
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    writeln!(io::stdout(), "ready")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&log)?;
    std::env::set_current_dir("/")?;
    let owner = rustix::process::getuid();
    drop_rights()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server::serve(listener, owner))
}

/// A socket that only its owner may connect to. One that a dead process left is replaced.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let address = SocketAddrUnix::new(path)?;
    if rustix::net::connect(socket()?, &address).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another one serves {}", path.display()),
        ));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = socket()?;
    rustix::net::bind(&listener, &address)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&listener, 4)?;
    Ok(listener)
}

/// Gives up every right, for good. There is one thread, so that the thread's identity is the process's.
fn drop_rights() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    if !rustix::process::getuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    // The kernel takes all capabilities away with the last id that is root's.
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}
