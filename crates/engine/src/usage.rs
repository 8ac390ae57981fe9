//! How much of the disk a tree takes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of the files below `path`, without their holes; files with several names count once. What goes away meanwhile is
/// not counted.
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
            } else if metadata.is_file()
                && (metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())))
            {
                bytes += metadata.len().min(metadata.blocks() * 512);
            }
        }
    }
    bytes
}
