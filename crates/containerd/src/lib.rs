//! The containerd door: containerd's API over the engine.
//!
//! [`serve`] accepts connections; a file per service turns its calls into what the engine and its store do, and their errors
//! into the codes and words that containerd's clients look for. To them Corten is containerd [`VERSION`].
//!
//! A call says its namespace and perhaps a lease in headers ([`request`]). What blocks runs on threads of its own
//! ([`Door::blocking`]).
#![forbid(unsafe_code)]

mod bridge;
mod calls;
mod door;
pub mod filter;
mod metrics;
mod request;
mod services;
mod status;
mod time;

pub use door::{Door, serve};
pub use metrics::metrics;
pub use services::introspection::{can_be_disabled, plugins};

/// What clients are told: containerd's version whose API this is, and ours.
pub const VERSION: &str = concat!("v2.1.9+corten.", env!("CARGO_PKG_VERSION"));

/// The revision beside it; containerd has its commit there.
pub(crate) const REVISION: &str = "";
