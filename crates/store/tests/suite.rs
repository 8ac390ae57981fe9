//! The store against the real kernel: real files, real mounts, real kills. Needs root for mounts.
#![forbid(unsafe_code)]
// A test that cannot go on panics.
#![allow(clippy::unwrap_used)]

#[path = "suite/clients.rs"]
mod clients;
#[path = "suite/content.rs"]
mod content;
#[path = "suite/database.rs"]
mod database;
#[path = "suite/disk.rs"]
mod disk;
#[path = "suite/full.rs"]
mod full;
#[path = "suite/gc.rs"]
mod gc;
#[path = "suite/ingests.rs"]
mod ingests;
#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/leases.rs"]
mod leases;
#[path = "suite/power.rs"]
mod power;
#[path = "suite/snapshots.rs"]
mod snapshots;
#[path = "suite/space_snapshots.rs"]
mod space_snapshots;

use std::path::Path;
use std::process::Command;

/// Runs a program of the machine, which must succeed.
fn program(name: &str, arguments: &[&str]) {
    let status = Command::new(name).args(arguments).status();
    let status = status.unwrap_or_else(|error| panic!("{name} is needed by this test: {error}"));
    assert!(status.success(), "{name} {arguments:?} needs root");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are ASCII")
}
