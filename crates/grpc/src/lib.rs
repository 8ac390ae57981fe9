//! containerd's gRPC services: what a server implements and a client calls.
//!
//! One module per service, with its messages (of [`api`]) beside `…_server` and `…_client`, which `cargo xtask protos`
//! makes of `crates/api/proto`. Nothing in here connects, listens, or bounds a message: that is the doors'. It is a
//! crate of its own so that `corten-shim`, which speaks ttrpc with the same messages, is not linked with gRPC.
#![forbid(unsafe_code)]

pub mod status;

/// Declares a service's module: generated stubs, and the messages of its package.
macro_rules! service {
    ($name:ident, $messages:path, $file:literal) => {
        #[allow(clippy::all, clippy::pedantic, clippy::restriction, missing_docs, unreachable_pub)]
        pub mod $name {
            pub use $messages::*;
            include!(concat!("generated/", $file, ".rs"));
        }
    };
}

service!(containers, api::services::containers, "containerd.services.containers.v1");
service!(content, api::services::content, "containerd.services.content.v1");
service!(diff, api::services::diff, "containerd.services.diff.v1");
service!(events, api::services::events, "containerd.services.events.v1");
service!(images, api::services::images, "containerd.services.images.v1");
service!(introspection, api::services::introspection, "containerd.services.introspection.v1");
service!(leases, api::services::leases, "containerd.services.leases.v1");
service!(mounts, api::services::mounts, "containerd.services.mounts.v1");
service!(namespaces, api::services::namespaces, "containerd.services.namespaces.v1");
service!(sandbox, api::services::sandbox, "containerd.services.sandbox.v1");
service!(snapshots, api::services::snapshots, "containerd.services.snapshots.v1");
service!(streaming, api::services::streaming, "containerd.services.streaming.v1");
service!(tasks, api::services::tasks, "containerd.services.tasks.v1");
service!(transfer, api::services::transfer, "containerd.services.transfer.v1");
service!(version, api::services::version, "containerd.services.version.v1");
service!(health, api::health, "grpc.health.v1");
