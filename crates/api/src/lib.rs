//! Wire types and stubs, error codes and their status.
//!
//! Types in here are what travels between processes; they stop at the doors and at the shim's service.
#![forbid(unsafe_code)]

pub mod any;
pub mod code;
pub mod docker;
mod generated;
pub mod ttrpc;

pub use generated::containerd::events;
pub use generated::containerd::runc::v1 as runc;
pub use generated::containerd::runtime::bootstrap::v1 as bootstrap;
pub use generated::containerd::services::events::ttrpc::v1 as forward;
pub use generated::corten::shim::v1 as shim;
pub use generated::io::containerd::cgroups::v1 as cgroups;

/// `containerd.task.v3`, and by the same structs `containerd.task.v2`.
pub mod task {
    pub use crate::generated::containerd::task::v3::*;
    pub use crate::generated::containerd::v1::types::{ProcessInfo, Status};

    /// The service's name by version of the shim protocol; methods and messages are the same.
    pub const SERVICE_V2: &str = "containerd.task.v2.Task";
    pub const SERVICE_V3: &str = "containerd.task.v3.Task";
}

/// `containerd.types`.
pub mod types {
    pub use crate::generated::containerd::types::*;
}

/// Our extension's name; see [`shim`].
pub const SHIM_SERVICE: &str = "corten.shim.v1.Shim";
/// Where a shim forwards its events; see [`forward`].
pub const EVENTS_SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
