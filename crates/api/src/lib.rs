//! Wire types and stubs, error codes and their status.
//!
//! Types in here are what travels between processes; they stop at the doors and at the shim's service.
#![forbid(unsafe_code)]

pub mod any;
pub mod code;
pub mod docker;
pub mod generated;
pub mod time;
pub mod ttrpc;
pub mod words;

pub use generated::containerd::events;
pub use generated::containerd::runc::v1 as runc;
pub use generated::containerd::runtime::bootstrap::v1 as bootstrap;
pub use generated::containerd::runtime::sandbox::v1 as sandbox;
pub use generated::containerd::services::events::ttrpc::v1 as forward;
pub use generated::corten::shim::v1 as shim;
pub use generated::google::rpc;
pub use generated::grpc::health::v1 as health;
pub use generated::io::containerd::cgroups::v1 as cgroups;
pub use generated::io::containerd::cgroups::v2 as cgroups2;
pub use generated::runtimeoptions::v1 as runtime_options;

/// The messages of containerd's gRPC services; their stubs are in crate `grpc`.
pub mod services {
    pub use crate::generated::containerd::services::containers::v1 as containers;
    pub use crate::generated::containerd::services::content::v1 as content;
    pub use crate::generated::containerd::services::diff::v1 as diff;
    pub use crate::generated::containerd::services::events::v1 as events;
    pub use crate::generated::containerd::services::images::v1 as images;
    pub use crate::generated::containerd::services::introspection::v1 as introspection;
    pub use crate::generated::containerd::services::leases::v1 as leases;
    pub use crate::generated::containerd::services::mounts::v1 as mounts;
    pub use crate::generated::containerd::services::namespaces::v1 as namespaces;
    pub use crate::generated::containerd::services::sandbox::v1 as sandbox;
    pub use crate::generated::containerd::services::snapshots::v1 as snapshots;
    pub use crate::generated::containerd::services::streaming::v1 as streaming;
    pub use crate::generated::containerd::services::tasks::v1 as tasks;
    pub use crate::generated::containerd::services::transfer::v1 as transfer;
    pub use crate::generated::containerd::services::version::v1 as version;
}

/// `containerd.task.v3`, and by the same structs `containerd.task.v2`.
pub mod task {
    pub use crate::generated::containerd::task::v3::*;
    pub use crate::generated::containerd::v1::types::{Process, ProcessInfo, Status};

    /// The service's name by version of the shim protocol; methods and messages are the same.
    pub const SERVICE_V2: &str = "containerd.task.v2.Task";
    pub const SERVICE_V3: &str = "containerd.task.v3.Task";
}

/// `containerd.types`.
pub mod types {
    pub use crate::generated::containerd::types::*;
}

/// What a shim serves that keeps sandboxes; see [`sandbox`].
pub const SANDBOX_SERVICE: &str = "containerd.runtime.sandbox.v1.Sandbox";
/// Our extension's name; see [`shim`].
pub const SHIM_SERVICE: &str = "corten.shim.v1.Shim";
/// Where a shim forwards its events; see [`forward`].
pub const EVENTS_SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

#[cfg(test)]
mod tests;
