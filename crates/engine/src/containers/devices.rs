//! Devices of the host for a container: looked up when it is created, to refuse what is not there, and at each start,
//! because their numbers may change.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use oci::runtime_spec::{Device, DeviceRule};

use super::spec::{ContainerSpec, DeviceSpec};
use crate::error::{Error, Result};

/// Most devices of a `--device` directory, or of the host for a privileged container.
const DEVICES_MAX: usize = 4096;
/// How deep directories of devices are looked into.
const DEPTH_MAX: usize = 4;
/// What of `/dev` a container makes itself, or leads back.
const OWN: [&str; 8] = ["pts", "ptmx", "shm", "fd", "mqueue", "console", ".udev", ".lxc"];

/// The device nodes that were asked for and the rules that allow them, and after them the `injected` ones of vendors.
pub(crate) fn find(
    spec: &ContainerSpec,
    injected: Vec<(Device, DeviceRule)>,
) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    let mut found = Vec::new();
    if spec.privileged {
        let all =
            DeviceSpec { host_path: "/dev".into(), container_path: "/dev".into(), permissions: "rwm".into() };
        collect_devices(&all, DEPTH_MAX, &mut found)?;
    }
    for asked in &spec.devices {
        let before = found.len();
        collect_devices(asked, DEPTH_MAX, &mut found)?;
        if found.len() == before {
            return Err(no_device(asked, "not a device node"));
        }
    }
    found.extend(injected);
    Ok(found.into_iter().unzip())
}

fn no_device(device: &DeviceSpec, why: &str) -> Error {
    Error::InvalidArgument(format!(
        "error gathering device information while adding custom device \"{}\": {why}",
        device.host_path
    ))
}

fn collect_devices(asked: &DeviceSpec, depth: usize, found: &mut Vec<(Device, DeviceRule)>) -> Result<()> {
    let failed = |error: std::io::Error| no_device(asked, &said(&error));
    let metadata = std::fs::metadata(&asked.host_path).map_err(failed)?;
    if found.len() > DEVICES_MAX {
        return Err(no_device(asked, "too many devices"));
    }
    if metadata.is_dir() {
        if depth == 0 {
            return Ok(());
        }
        for entry in std::fs::read_dir(&asked.host_path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_link = entry.file_type().map_err(failed)?.is_symlink();
            if is_link || OWN.contains(&name.as_str()) {
                continue;
            }
            let below = DeviceSpec {
                host_path: format!("{}/{name}", asked.host_path.trim_end_matches('/')),
                container_path: format!("{}/{name}", asked.container_path.trim_end_matches('/')),
                permissions: asked.permissions.clone(),
            };
            collect_devices(&below, depth - 1, found)?;
        }
        return Ok(());
    }
    found.extend(node_of(asked, &metadata));
    Ok(())
}

/// The node that a path of the host is, and the rule that allows it. None: it is no device node.
pub(crate) fn node(asked: &DeviceSpec) -> Result<Option<(Device, DeviceRule)>> {
    let metadata = std::fs::metadata(&asked.host_path).map_err(|error| no_device(asked, &said(&error)))?;
    Ok(node_of(asked, &metadata))
}

fn node_of(asked: &DeviceSpec, metadata: &std::fs::Metadata) -> Option<(Device, DeviceRule)> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let number = metadata.rdev();
    let number = (i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number)));
    let (mut device, rule) = known_node(asked, kind, number);
    device.file_mode = Some(metadata.mode() & 0o7777);
    device.uid = Some(metadata.uid());
    device.gid = Some(metadata.gid());
    Some((device, rule))
}

/// A node whose numbers are known: of root, for everybody.
pub(crate) fn known_node(asked: &DeviceSpec, kind: &str, (major, minor): (i64, i64)) -> (Device, DeviceRule) {
    let device = Device {
        kind: kind.to_owned(),
        path: asked.container_path.clone(),
        major,
        minor,
        file_mode: Some(0o666),
        uid: Some(0),
        gid: Some(0),
    };
    let rule = DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major: Some(major),
        minor: Some(minor),
        access: asked.permissions.clone(),
    };
    (device, rule)
}

/// In Docker's words.
fn said(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host_path: &str, privileged: bool) -> ContainerSpec {
        let device = DeviceSpec {
            host_path: host_path.into(),
            container_path: "/dev/other".into(),
            permissions: "rw".into(),
        };
        let devices = if host_path.is_empty() { Vec::new() } else { vec![device] };
        ContainerSpec { devices, privileged, ..ContainerSpec::default() }
    }

    #[test]
    fn a_device_is_found_under_its_new_name() {
        let (devices, rules) = find(&asked("/dev/null", false), Vec::new()).unwrap();
        assert_eq!((devices[0].path.as_str(), devices[0].major, devices[0].minor), ("/dev/other", 1, 3));
        assert_eq!((rules[0].access.as_str(), rules[0].minor), ("rw", Some(3)));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for path in ["/dev/not-there", "/etc/passwd", "/etc"] {
            let text = find(&asked(path, false), Vec::new()).unwrap_err().to_string();
            assert!(text.contains(path), "{text}");
        }
    }

    #[test]
    fn a_privileged_container_gets_the_hosts_but_makes_its_own() {
        let (devices, _) = find(&asked("", true), Vec::new()).unwrap();
        assert!(devices.iter().any(|device| device.path == "/dev/null"));
        assert!(
            !devices.iter().any(|device| device.path == "/dev/ptmx" || device.path.starts_with("/dev/pts/"))
        );
    }
}
