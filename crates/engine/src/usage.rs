//! How much of the disk a tree takes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes allocated below `path`, as du(1) counts: files with several names once. What goes away meanwhile is not counted.
pub(crate) fn tree_bytes(path: &Path) -> u64 {
    let mut pending: Vec<PathBuf> = vec![path.to_owned()];
    let mut seen = std::collections::HashSet::new();
    let mut bytes = 0;
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            if metadata.nlink() < 2 || metadata.is_dir() || seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}
