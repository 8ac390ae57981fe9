//! Devices of this machine, as the runtime's document names them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Value, json};

/// What is below `/dev` and is the container's own, or no device at all.
const SKIPPED: [&str; 8] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];

/// The device at `path`, or all devices below it.
pub(super) fn at(path: &Path) -> io::Result<Vec<Value>> {
    if !fs::metadata(path)?.is_dir() {
        let device = device(path)?;
        return device.map(|device| vec![device]).ok_or_else(|| io::Error::other("not a device node"));
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        if SKIPPED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            found.extend(at(&entry.path())?);
        } else {
            found.extend(device(&entry.path())?);
        }
    }
    Ok(found)
}

/// A device node; links are not followed, and what has just gone is none.
fn device(path: &Path) -> io::Result<Option<Value>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let kind = match metadata.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => return Ok(None),
    };
    Ok(Some(json!({
        "path": path,
        "type": kind,
        "major": rustix::fs::major(metadata.rdev()),
        "minor": rustix::fs::minor(metadata.rdev()),
        "fileMode": metadata.mode() & 0o7777,
        "uid": metadata.uid(),
        "gid": metadata.gid(),
    })))
}

/// The rule that lets a container use `device` in every way.
pub(super) fn rule(device: &Value) -> Value {
    json!({
        "allow": true,
        "type": device["type"],
        "major": device["major"],
        "minor": device["minor"],
        "access": "rwm",
    })
}

#[cfg(test)]
mod tests {
    use super::{at, rule};
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn a_device_is_itself_and_a_folder_all_that_it_has() {
        let null = at(Path::new("/dev/null")).unwrap();
        assert_eq!(null.len(), 1);
        assert_eq!(
            (&null[0]["path"], &null[0]["major"], &null[0]["minor"]),
            (&json!("/dev/null"), &json!(1), &json!(3))
        );
        assert_eq!(
            rule(&null[0]),
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"})
        );
        let all = at(Path::new("/dev")).unwrap();
        assert!(all.contains(&null[0]), "{all:?}");
        assert!(
            all.iter().all(|device| !device["path"].as_str().unwrap().starts_with("/dev/pts")),
            "{all:?}"
        );
        assert!(at(Path::new("/etc/hostname")).is_err() && at(Path::new("/nothing")).is_err());
    }
}
