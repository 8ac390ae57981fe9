//! Network namespaces, and sockets in them.
//!
//! A namespace is held by a descriptor only and has no name: when the last descriptor and the last process in it are gone, the
//! kernel removes it with its interfaces. That is what keeps a crash from leaving anything. The price: a socket that somebody
//! holds (`corten-net`'s for names) keeps the namespace, too.
//!
//! No thread that goes on ever enters another namespace. What has to happen inside (making one, opening a socket) happens on a thread
//! of its own, which ends; sockets stay in the namespace in which they were opened and serve from everywhere.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::namespace;
use linux::netlink::{Protocol, Socket};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::link::Links;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    descriptor: OwnedFd,
    links: Links,
}

impl Namespace {
    /// A new one, with these parameters (`net.ipv4.ip_forward`: sysctl(8)) and its loopback interface up.
    pub fn new<'a>(sysctls: impl IntoIterator<Item = (&'a str, &'a str)> + Send) -> Result<Namespace> {
        let made = on_own_thread(|| {
            linux::unshare::network()?;
            // These files are those of the namespace of the thread that opens them.
            let written = sysctls.into_iter().try_for_each(|(name, value)| write_sysctl(name, value));
            Ok((own()?, Socket::open(Protocol::Route)?, written))
        });
        let (descriptor, socket, written) =
            made.map_err(|source| Error::Kernel { what: "make a network namespace".into(), source })?;
        written?;
        let namespace = Namespace { descriptor, links: Links::new(socket) };
        namespace.links.raise("lo")?;
        Ok(namespace)
    }

    /// That of a process.
    pub fn of_process(pid: u32) -> Result<Namespace> {
        Namespace::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// That which a file of proc(5), or a mount of one, stands for.
    pub fn open(path: &Path) -> Result<Namespace> {
        let failed =
            |source| Error::Kernel { what: format!("open the namespace `{}`", path.display()), source };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let socket = inside(descriptor.as_fd(), || Socket::open(Protocol::Route)).map_err(failed)?;
        Ok(Namespace { descriptor, links: Links::new(socket) })
    }

    /// Its interfaces.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Where another process finds it as long as this value lives.
    pub fn path(&self) -> PathBuf {
        linux::path::of_descriptor(self.descriptor.as_fd())
    }

    /// Does something in it, on a thread that ends.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> rustix::io::Result<T> + Send) -> Result<T> {
        inside(self.descriptor.as_fd(), work)
            .map_err(|source| Error::Kernel { what: "work in a network namespace".into(), source })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// In the namespace of the calling thread.
fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/sys/{}", name.replace('.', "/")));
    std::fs::write(&path, value).map_err(|source| Error::File { what: "set the parameter", path, source })
}

/// The calling thread's own.
fn own() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn inside<T: Send>(
    descriptor: BorrowedFd<'_>,
    work: impl FnOnce() -> rustix::io::Result<T> + Send,
) -> rustix::io::Result<T> {
    on_own_thread(|| {
        namespace::enter(descriptor, namespace::NETWORK)?;
        work()
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> rustix::io::Result<T> + Send) -> rustix::io::Result<T> {
    // A small stack is made faster; nothing here needs more.
    const STACK: usize = 64 << 10;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
