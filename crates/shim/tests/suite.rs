//! The shim's executable with real containers: each test has a shim, a busybox and a bundle of its own.
#![allow(unreachable_pub)]
// A test that cannot go on panics.
#![allow(clippy::unwrap_used)]

#[path = "suite/attach.rs"]
mod attach;
#[path = "suite/collector.rs"]
mod collector;
#[path = "suite/containerd.rs"]
mod containerd;
#[path = "suite/exec.rs"]
mod exec;
#[path = "suite/fixture.rs"]
mod fixture;
#[path = "suite/hooks.rs"]
mod hooks;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/log.rs"]
mod log;
#[path = "suite/recovery.rs"]
mod recovery;
#[path = "suite/runc_state.rs"]
mod runc_state;
#[path = "suite/stats.rs"]
mod stats;
