//! Real containers on the real kernel: busybox in an overlay, as root.
// Helpers outside of test functions, too: what fails there fails the test.
#![allow(clippy::unwrap_used)]

#[path = "suite/confinement.rs"]
mod confinement;
#[path = "suite/devices.rs"]
mod devices;
#[path = "suite/exec.rs"]
mod exec;
#[path = "suite/fixture.rs"]
mod fixture;
#[path = "suite/lifecycle.rs"]
mod lifecycle;
#[path = "suite/mounts.rs"]
mod mounts;
#[path = "suite/namespaces.rs"]
mod namespaces;
#[path = "suite/programs.rs"]
mod programs;
#[path = "suite/scheduling.rs"]
mod scheduling;
#[path = "suite/users.rs"]
mod users;
