//! The network of containers: interfaces, addresses and firewall rules, over netlink. Nothing is executed.
//!
//! ```text
//! conflist   what networks there are (CNI conflists on disk)
//! ipam       who has which address (host-local's files)
//! namespace  a container's network namespace, and sockets in it
//! link       bridges, veth pairs, addresses, routes (rtnetlink)
//! firewall   forwarding, masquerading, published ports (nf_tables)
//! ```
//!
//! Everything is synchronous and given by values: what exists is decided by the engine.
#![forbid(unsafe_code)]

pub mod conflist;
mod error;
pub mod firewall;
pub mod ipam;
pub mod link;
pub mod namespace;
mod nft;

pub use error::{Error, Result};
