//! A mount as containerd and the shim protocol describe it: what to mount, where, and how.

use serde::{Deserialize, Serialize};

/// One mount to perform, in the vocabulary of `mount(8)`.
///
/// Snapshotters return these; the shim hands them to the runtime, which performs them by descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mount {
    /// File system type (`overlay`, `bind`, `tmpfs`, …).
    pub kind: String,
    /// Source path, or the type's name when it has no source.
    pub source: String,
    /// Path below the root that it is mounted on; empty for the root itself.
    pub target: String,
    /// Options in `fstab` form (`lowerdir=…`, `ro`, `volatile`).
    pub options: Vec<String>,
}
