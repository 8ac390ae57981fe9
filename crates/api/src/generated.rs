//! The message types that `cargo xtask protos` makes of `proto/`, in modules that mirror the packages: generated
//! code names its neighbours by relative paths. The rest of the crate re-exports them by noun.
#![allow(clippy::all, missing_docs, unreachable_pub)]

pub mod containerd {
    pub mod events {
        include!("generated/containerd.events.rs");
    }
    pub mod runc {
        pub mod v1 {
            include!("generated/containerd.runc.v1.rs");
        }
    }
    pub mod runtime {
        pub mod bootstrap {
            pub mod v1 {
                include!("generated/containerd.runtime.bootstrap.v1.rs");
            }
        }
        pub mod sandbox {
            pub mod v1 {
                include!("generated/containerd.runtime.sandbox.v1.rs");
            }
        }
    }
    pub mod services {
        pub mod containers {
            pub mod v1 {
                include!("generated/containerd.services.containers.v1.rs");
            }
        }
        pub mod content {
            pub mod v1 {
                include!("generated/containerd.services.content.v1.rs");
            }
        }
        pub mod diff {
            pub mod v1 {
                include!("generated/containerd.services.diff.v1.rs");
            }
        }
        pub mod events {
            pub mod ttrpc {
                pub mod v1 {
                    include!("generated/containerd.services.events.ttrpc.v1.rs");
                }
            }
            pub mod v1 {
                include!("generated/containerd.services.events.v1.rs");
            }
        }
        pub mod images {
            pub mod v1 {
                include!("generated/containerd.services.images.v1.rs");
            }
        }
        pub mod introspection {
            pub mod v1 {
                include!("generated/containerd.services.introspection.v1.rs");
            }
        }
        pub mod leases {
            pub mod v1 {
                include!("generated/containerd.services.leases.v1.rs");
            }
        }
        pub mod mounts {
            pub mod v1 {
                include!("generated/containerd.services.mounts.v1.rs");
            }
        }
        pub mod namespaces {
            pub mod v1 {
                include!("generated/containerd.services.namespaces.v1.rs");
            }
        }
        pub mod sandbox {
            pub mod v1 {
                include!("generated/containerd.services.sandbox.v1.rs");
            }
        }
        pub mod snapshots {
            pub mod v1 {
                include!("generated/containerd.services.snapshots.v1.rs");
            }
        }
        pub mod streaming {
            pub mod v1 {
                include!("generated/containerd.services.streaming.v1.rs");
            }
        }
        pub mod tasks {
            pub mod v1 {
                include!("generated/containerd.services.tasks.v1.rs");
            }
        }
        pub mod transfer {
            pub mod v1 {
                include!("generated/containerd.services.transfer.v1.rs");
            }
        }
        pub mod version {
            pub mod v1 {
                include!("generated/containerd.services.version.v1.rs");
            }
        }
    }
    pub mod task {
        pub mod v3 {
            include!("generated/containerd.task.v3.rs");
        }
    }
    pub mod types {
        include!("generated/containerd.types.rs");
        pub mod transfer {
            include!("generated/containerd.types.transfer.rs");
        }
    }
    pub mod v1 {
        pub mod types {
            include!("generated/containerd.v1.types.rs");
        }
    }
}

pub mod corten {
    pub mod shim {
        pub mod v1 {
            include!("generated/corten.shim.v1.rs");
        }
    }
}

pub mod google {
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}

pub mod grpc {
    pub mod health {
        pub mod v1 {
            include!("generated/grpc.health.v1.rs");
        }
    }
}

pub mod io {
    pub mod containerd {
        pub mod cgroups {
            pub mod v1 {
                include!("generated/io.containerd.cgroups.v1.rs");
            }
            pub mod v2 {
                include!("generated/io.containerd.cgroups.v2.rs");
            }
        }
    }
}

pub mod runtimeoptions {
    pub mod v1 {
        include!("generated/runtimeoptions.v1.rs");
    }
}
