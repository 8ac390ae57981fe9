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
    }
    pub mod services {
        pub mod events {
            pub mod ttrpc {
                pub mod v1 {
                    include!("generated/containerd.services.events.ttrpc.v1.rs");
                }
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

pub mod io {
    pub mod containerd {
        pub mod cgroups {
            pub mod v1 {
                include!("generated/io.containerd.cgroups.v1.rs");
            }
        }
    }
}
