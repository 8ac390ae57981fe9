//! Where a container process reads and writes.
//!
//! A terminal is made from the container's own devpts instance, so that `ttyname` inside finds `/dev/pts/N`. The
//! instance is mounted by the parent, detached, and the parent opens the master through its descriptor: no path of the
//! container is trusted, and no descriptor has to be passed back by the child.

use std::os::fd::OwnedFd;

/// The three standard descriptors of a new process.
#[derive(Debug)]
pub enum Stdio {
    /// The container's own `/dev/null`.
    Null,
    /// The container's ends of three pipes (or any files); the caller keeps the other ends. No `stdin` is `/dev/null`.
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    /// A new terminal as controlling terminal; its master is returned to the caller.
    Terminal { size: TerminalSize },
}

/// Size in characters; zero leaves the kernel's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

impl Stdio {
    /// The caller's descriptors, by number, and the size of the terminal.
    pub(crate) fn into_parts(self) -> ([Option<OwnedFd>; 3], TerminalSize) {
        match self {
            Stdio::Null => ([None, None, None], TerminalSize::default()),
            Stdio::Pipes { stdin, stdout, stderr } => {
                ([stdin, Some(stdout), Some(stderr)], TerminalSize::default())
            }
            Stdio::Terminal { size } => ([None, None, None], size),
        }
    }
}
