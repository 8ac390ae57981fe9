//! What of a container's mounts is not possible. Pure.

use std::collections::BTreeSet;

use super::invalid;
use crate::containers::merge::clean_path;
use crate::containers::spec::{ContainerSpec, MountSpec};
use crate::error::Result;

/// What a tmpfs is told with a value: tmpfs(5).
const TMPFS_VALUES: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
/// And without one, of what mount(8) knows.
const TMPFS_FLAGS: [&str; 30] = [
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "relatime",
    "ro",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "sync",
    "unbindable",
    "mand",
    "nomand",
];

pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    let mut targets = BTreeSet::new();
    for mount in &spec.mounts {
        let target = mount.target();
        if !target.starts_with('/') || target.contains('\0') {
            return invalid(format!("invalid mount path: '{target}' mount path must be absolute"));
        }
        if clean_path(target) == "/" {
            return invalid("invalid specification: destination can't be '/'".into());
        }
        if !targets.insert(clean_path(target)) {
            return invalid(format!("Duplicate mount point: {target}"));
        }
        check_source(mount)?;
    }
    Ok(())
}

fn check_source(mount: &MountSpec) -> Result<()> {
    match mount {
        MountSpec::Bind(bind) if !bind.source.starts_with('/') || bind.source.contains('\0') => {
            invalid(format!("invalid mount path: '{}' mount path must be absolute", bind.source))
        }
        MountSpec::Bind(_) => Ok(()),
        MountSpec::Volume(volume) if volume.name.is_empty() && volume.readonly => invalid(
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes"
                .into(),
        ),
        MountSpec::Volume(volume) if volume.name.is_empty() => match volume.subpath.is_empty() {
            true => Ok(()),
            false => invalid(
                "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes"
                    .into(),
            ),
        },
        MountSpec::Volume(volume) => {
            crate::volumes::check_name(&volume.name)?;
            check_subpath("volume", &volume.subpath)
        }
        MountSpec::Image(image) if image.image.is_empty() => {
            invalid("invalid mount config for type \"image\": field Source must not be empty".into())
        }
        MountSpec::Image(image) => check_subpath("image", &image.subpath),
        MountSpec::Tmpfs(tmpfs) => match tmpfs.options.iter().find(|option| !is_tmpfs_option(option)) {
            Some(option) => invalid(format!("invalid tmpfs option [{option:?}]")),
            None => Ok(()),
        },
    }
}

fn check_subpath(kind: &str, subpath: &str) -> Result<()> {
    let mut depth = 0_i32;
    for name in subpath.split('/') {
        match name {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            break;
        }
    }
    if depth < 0 || subpath.starts_with('/') || subpath.contains('\0') {
        return invalid(format!(
            "invalid mount config for type {kind:?}: subpath must be a relative path within the volume"
        ));
    }
    Ok(())
}

fn is_tmpfs_option(option: &str) -> bool {
    match option.split_once('=') {
        Some((key, value)) => TMPFS_VALUES.contains(&key) && !value.is_empty() && !value.contains('\0'),
        None => TMPFS_FLAGS.contains(&option),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subpath_stays_below_its_root() {
        for subpath in ["", "a", "a/b/../c", "./a", "a//b", "a/.."] {
            assert!(check_subpath("volume", subpath).is_ok(), "{subpath}");
        }
        for subpath in ["..", "/a", "a/../..", "../a", "a/../../a", "a\0"] {
            assert!(check_subpath("volume", subpath).is_err(), "{subpath:?}");
        }
    }

    #[test]
    fn options_of_a_tmpfs_are_those_that_it_has() {
        for option in ["size=1m", "mode=700", "exec", "ro", "uid=5"] {
            assert!(is_tmpfs_option(option), "{option}");
        }
        for option in ["foo", "bind", "remount", "size", "exec=1", "lowerdir=/etc", "size="] {
            assert!(!is_tmpfs_option(option), "{option}");
        }
    }
}
