//! System call filters: from a profile to a classic BPF program that seccomp(2) loads.
//!
//! ```text
//! profile document ──profile──▶ oci Seccomp ──filter──▶ ranges of numbers ──assembler──▶ Program
//!      docker (the default profile) ──┘
//! ```
//!
//! Compiling is pure; loading belongs to the child (`linux::seccomp`). The same profile always gives the same
//! program, so a caller may keep it.
//!
//! What a profile means (runtime specification, `config-linux.md`, "Seccomp", and what runc made of it):
//! * The machine's own ABI is always filtered; a call of an ABI that the profile does not list kills the process.
//! * Names that an ABI does not have are skipped, so one profile serves many architectures.
//! * Rules for one call are alternatives: one without conditions wins, else the first whose conditions all hold.
//!   Two conditions on the same argument in one rule are alternatives too. A rule that repeats the default action
//!   says nothing and is skipped.
//! * A restrictive profile cannot know calls that are newer than itself: numbers above the largest that it names
//!   answer `ENOSYS`, so that C libraries fall back to what they did before.
//! * On i386, a rule without conditions on `socket`, `semop` and the like covers the multiplexers `socketcall` and
//!   `ipc` too. Conditions cannot: there the arguments are behind a pointer.
//! * On i386, values are compared as the 32 bits that such a call can pass.

mod assembler;
mod docker;
mod filter;
mod profile;
mod syscalls;

use api::code::Code;
use linux::seccomp::SockFilter;

pub use docker::default_profile;
pub use filter::compile;
pub use profile::parse_profile;

/// A filter that the kernel can load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub instructions: Vec<SockFilter>,
    /// `SECCOMP_FILTER_FLAG_…` for seccomp(2).
    pub flags: u32,
}

/// Why a profile cannot become a filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("seccomp profile: action `{action}` takes no `errnoRet`")]
    ActionTakesNoErrno { action: String },
    #[error("seccomp profile: argument index {index} of `{call}` is not in 0..=5")]
    ArgumentIndex { call: String, index: u32 },
    #[error("seccomp profile: {what} given, hint: use only one of the two")]
    Contradiction { what: &'static str },
    #[error("seccomp profile is not valid JSON")]
    Document { source: serde_json::Error },
    #[error("seccomp profile: errno {errno} is larger than {max}", max = filter::MAX_ERRNO)]
    Errno { errno: u32 },
    #[error("seccomp profile: kernel version `{version}` is not `<version>.<major revision>`")]
    KernelVersion { version: String },
    #[error("seccomp profile has no `defaultAction`")]
    NoDefaultAction,
    #[error("seccomp profile: notifying a listener ({what}) is not supported yet")]
    NotifyUnsupported { what: &'static str },
    #[error("seccomp profile needs {instructions} instructions; the kernel takes {max}", max = assembler::MAX_INSTRUCTIONS)]
    TooLarge { instructions: usize },
    #[error("seccomp profile of {bytes} bytes is larger than {max}", max = profile::MAX_DOCUMENT_BYTES)]
    TooLong { bytes: usize },
    #[error("seccomp profile: unknown action `{action}`")]
    UnknownAction { action: String },
    #[error("seccomp profile: unknown architecture `{architecture}`")]
    UnknownArchitecture { architecture: String },
    #[error("seccomp profile: unknown flag `{flag}`")]
    UnknownFlag { flag: String },
    #[error("seccomp profile: unknown comparison `{operator}` for `{call}`")]
    UnknownOperator { call: String, operator: String },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::NotifyUnsupported { .. } => Code::Unimplemented,
            _ => Code::InvalidArgument,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
