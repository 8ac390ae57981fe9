//! System call filters: from a profile to a classic BPF program.

use std::collections::BTreeSet;

use api::code::Code;
use linux::seccomp::SockFilter;
use oci::runtime_spec::Seccomp;

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
    #[error("unknown seccomp action `{0}`")]
    UnknownAction(String),
}

impl Error {
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Compiles a profile.
pub fn compile(_profile: &Seccomp) -> Result<Program> {
    todo!()
}

/// Docker's default profile for a process that may have `capabilities` (`CAP_…`).
pub fn default_profile(_capabilities: &BTreeSet<String>) -> Seccomp {
    todo!()
}

/// Reads a profile document: Docker's format with its conditions, or the plain one of the OCI specification.
pub fn parse_profile(_json: &str, _capabilities: &BTreeSet<String>) -> Result<Seccomp> {
    todo!()
}
