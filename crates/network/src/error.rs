//! What can go wrong with networks.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use api::code::Code;
use ipnet::IpNet;
use rustix::io::Errno;

/// Why something about a network failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused; `what` completes "cannot …" and names what it was about.
    #[error("cannot {what}")]
    Kernel {
        what: String,
        #[source]
        source: Errno,
    },
    /// The same for what was asked by netlink.
    #[error("cannot {what}")]
    Refused { what: String, source: linux::netlink::Error },
    #[error("the interface {name} is there already and is no bridge")]
    NoBridge { name: String },
    #[error("the bridge {name} has its {ports} ports in use, which is all that the kernel gives one")]
    BridgeFull { name: String, ports: u32 },
    #[error("cannot {what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// `owner` is empty where nobody is noted.
    #[error("address {address} is in use already{}", by(.owner))]
    AddressTaken { address: IpAddr, owner: String },
    #[error("address {address} is not one that a container of {subnet} can have")]
    OutsideSubnet { address: IpAddr, subnet: IpNet },
    #[error("no address of network `{network}` is free between {first} and {last}")]
    NoAddress { network: String, first: IpAddr, last: IpAddr },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Kernel { source: Errno::PERM | Errno::ACCESS, .. } => Code::PermissionDenied,
            Error::Refused { source, .. } if matches!(source.errno, Errno::PERM | Errno::ACCESS) => {
                Code::PermissionDenied
            }
            Error::Kernel { .. } | Error::Refused { .. } | Error::File { .. } => Code::Internal,
            Error::NoBridge { .. } => Code::FailedPrecondition,
            Error::BridgeFull { .. } => Code::ResourceExhausted,
            Error::AddressTaken { .. } => Code::AlreadyExists,
            Error::OutsideSubnet { .. } => Code::InvalidArgument,
            Error::NoAddress { .. } => Code::ResourceExhausted,
        }
    }
}

fn by(owner: &str) -> String {
    if owner.is_empty() { String::new() } else { format!(" by `{owner}`") }
}
