//! The shim executable.
//!
//! * `corten-shim spare --dir DIR`: listens in the directory, says `ready` on standard output, goes on in a session of its own
//!   and waits to be bound. While it is spare it ends with the daemon, whose end it sees on its standard input.
//! * under the name `docker-init`: the first process of a container with `--init`.
//! * `corten-shim -namespace … -id … start|delete`, `-v`, `-info`: as containerd calls its shims.
#![forbid(unsafe_code)]
// It is a command-line program until it listens.
#![allow(clippy::print_stdout)]

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use linux::fork::{Side, detach};
use rustix::fs::{Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use shim::bootstrap::{self, Action, Invocation};
use shim::{Bound, Shim, init};

/// containerd's message on standard input is a few hundred bytes.
const INPUT_MAX: u64 = 1 << 20;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    if given.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == init::NAME) {
        return init::main(&given[1..]);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        ["spare", "--dir", directory] => spare(Path::new(directory)),
        [] | ["-h" | "--help" | "help"] => {
            eprintln!("usage: corten-shim spare --dir DIR");
            eprintln!(
                "       corten-shim -namespace NAMESPACE -id ID -address SOCKET [-bundle DIR] start|delete"
            );
            return ExitCode::from(2);
        }
        _ => for_containerd(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("corten-shim: {error}");
            let mut cause = error.source();
            while let Some(source) = cause {
                eprint!(": {source}");
                cause = source.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

fn spare(directory: &Path) -> Result<()> {
    let task = bootstrap::bind(&directory.join("task.sock"))?;
    let attach = bootstrap::bind(&directory.join("attach.sock"))?;
    if detach()? == Side::Parent {
        return Ok(());
    }
    let lifeline = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let mut shim = Shim::spare(directory, task, attach, lifeline)?;
    // The daemon may be gone already: that is an error, not a reason to panic.
    writeln!(io::stdout(), "ready")?;
    leave_terminal(&directory.join("log"))?;
    Ok(shim.run()?)
}

fn for_containerd(arguments: &[String]) -> Result<()> {
    let invocation = Invocation::parse(arguments)?;
    let directory = std::env::current_dir()?;
    let bound = invocation.bound(&directory);
    match invocation.action {
        Action::Version => println!("corten-shim {}", env!("CARGO_PKG_VERSION")),
        Action::Info => io::stdout().write_all(&bootstrap::info())?,
        Action::Delete => io::stdout().write_all(&bootstrap::delete(&bound)?)?,
        Action::Start => start(&invocation, bound)?,
    }
    Ok(())
}

fn start(invocation: &Invocation, bound: Bound) -> Result<()> {
    let mut input = Vec::new();
    io::stdin().take(INPUT_MAX).read_to_end(&mut input)?;
    bootstrap::settle(&input)?;
    let (listener, socket) = bootstrap::listen(invocation, &bound, &input)?;
    if let Some(listener) = listener
        && detach()? == Side::Child
    {
        let events = std::env::var_os("TTRPC_ADDRESS").map(PathBuf::from);
        bootstrap::yield_memory()?;
        leave_terminal(&bound.bundle.join("log"))?;
        return Ok(Shim::bound(bound, listener, events)?.run()?);
    }
    let variable = std::env::var("MAX_SHIM_VERSION").ok();
    let newest = bootstrap::newest_version(&input, variable.as_deref());
    print!("{}", bootstrap::greeting(&socket, newest));
    Ok(io::stdout().flush()?)
}

/// Standard input and output to nowhere, standard error to our log (containerd's is a fifo that nobody may read), and no
/// directory kept busy.
fn leave_terminal(log: &Path) -> io::Result<()> {
    let null: OwnedFd = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let log = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nonblocking).open(log);
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(log.as_ref().map_or(null.as_fd(), AsFd::as_fd))?;
    std::env::set_current_dir("/")
}
