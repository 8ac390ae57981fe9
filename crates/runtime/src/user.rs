//! Whom a process runs as: `USER[:GROUP]` resolved in the container's own `/etc/passwd` and `/etc/group`.

use std::os::fd::BorrowedFd;

use api::code::Code;

/// Numeric identity of a process, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// Home directory; `/` when the user has no entry.
    pub home: String,
    /// Login name; empty when the user has no entry.
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
}

impl Error {
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Resolves Docker's `--user` and `--group-add` in `rootfs`.
pub fn resolve(_rootfs: BorrowedFd<'_>, _user: &str, _group_add: &[String]) -> Result<Identity> {
    todo!()
}
