//! Capability names, their numbers, and `--cap-add`, `--cap-drop`, `--privileged`.

use api::code::Code;

/// The capabilities of a container that asked for nothing.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid capability `{0}`")]
    Unknown(String),
}

impl Error {
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

/// The kernel's number of a capability, by its full upper-case name.
pub fn number(_name: &str) -> Option<u8> {
    todo!()
}

/// The capabilities of a container, as full names in the kernel's order.
pub fn resolve(_add: &[String], _drop: &[String], _privileged: bool) -> Result<Vec<String>, Error> {
    todo!()
}
