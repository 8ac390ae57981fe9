//! Networks on the real kernel, in network namespaces of the tests' own.
#![allow(clippy::unwrap_used)]

#[path = "suite/firewall.rs"]
mod firewall;
#[path = "suite/host.rs"]
mod host;
#[path = "suite/links.rs"]
mod links;
