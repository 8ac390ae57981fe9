//! Images on the real kernel: archives of every kind, hostile ones, layers over layers, kills. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "helpers of tests may do what tests may; a table of cases is as long as it is"
)]

#[path = "suite/archives.rs"]
mod archives;
#[path = "suite/clients.rs"]
mod clients;
#[path = "suite/confinement.rs"]
mod confinement;
#[path = "suite/differences.rs"]
mod differences;
#[path = "suite/differential.rs"]
mod differential;
#[path = "suite/documents.rs"]
mod documents;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/kills.rs"]
mod kills;
#[path = "suite/layers.rs"]
mod layers;
#[path = "suite/names.rs"]
mod names;
#[path = "suite/pulls.rs"]
mod pulls;
#[path = "suite/replay.rs"]
mod replay;
#[path = "suite/sandbox.rs"]
mod sandbox;
#[path = "suite/tarball.rs"]
mod tarball;
#[path = "suite/tree.rs"]
mod tree;
