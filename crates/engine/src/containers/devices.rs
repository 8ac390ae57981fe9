//! Devices of the host for a container: looked up when it is created, to refuse what is not there, and at each start,
//! because their numbers may change.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use oci::runtime_spec::{BlockIo, Device, DeviceRule, ThrottleDevice, WeightDevice};

use super::spec::{ContainerSpec, DeviceRate, DeviceSpec, ResourceSpec};
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
    let (devices, mut rules): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    for text in &spec.device_cgroup_rules {
        rules.push(parse_rule(text)?);
    }
    Ok((devices, rules))
}

/// `c 1:3 rwm`: all or one kind of device, numbers or `*`, and what may be done.
pub(crate) fn parse_rule(text: &str) -> Result<DeviceRule> {
    let number = |text: &str| match text {
        "*" => Some(None),
        _ => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Some))?,
    };
    let parse = || {
        let mut fields = text.split(' ');
        let (kind, numbers, access) = (fields.next()?, fields.next()?, fields.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let is_access = (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
        let is_whole = matches!(kind, "a" | "c" | "b") && is_access && fields.next().is_none();
        let (major, minor) = (number(major)?, number(minor)?);
        is_whole.then(|| DeviceRule {
            allow: true,
            kind: Some(kind.into()),
            major,
            minor,
            access: access.into(),
        })
    };
    parse().ok_or_else(|| Error::InvalidArgument(format!("invalid device cgroup rule format: '{text}'")))
}

/// Weights and rates of single devices, by the numbers that they have now.
pub(crate) fn block_io(asked: &ResourceSpec) -> Result<BlockIo> {
    let rates = |list: &[DeviceRate]| -> Result<Vec<ThrottleDevice>> {
        let rates = list.iter().map(|one| {
            let (major, minor) = block_device(&one.path)?;
            Ok(ThrottleDevice { major, minor, rate: one.rate })
        });
        rates.collect()
    };
    let weights = asked.blkio_weight_devices.iter().map(|one| {
        let (major, minor) = block_device(&one.path)?;
        Ok(WeightDevice { major, minor, weight: one.weight })
    });
    Ok(BlockIo {
        weight: None,
        weight_device: weights.collect::<Result<_>>()?,
        throttle_read_bps_device: rates(&asked.blkio_read_bps)?,
        throttle_write_bps_device: rates(&asked.blkio_write_bps)?,
        throttle_read_iops_device: rates(&asked.blkio_read_iops)?,
        throttle_write_iops_device: rates(&asked.blkio_write_iops)?,
    })
}

fn block_device(path: &str) -> Result<(i64, i64)> {
    let wrong = |why: &str| Error::InvalidArgument(format!("cannot limit block device `{path}`: {why}"));
    let metadata = std::fs::metadata(path).map_err(|error| wrong(&error.to_string()))?;
    if !metadata.file_type().is_block_device() {
        return Err(wrong("it is not a block device"));
    }
    let number = metadata.rdev();
    Ok((i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
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
    fn rules_are_a_kind_numbers_and_an_access() {
        for (text, major, minor, access) in [
            ("c 1:3 rwm", Some(1), Some(3), "rwm"),
            ("b *:7 r", None, Some(7), "r"),
            ("a *:* m", None, None, "m"),
        ] {
            let rule = parse_rule(text).unwrap();
            assert_eq!(
                (rule.major, rule.minor, rule.access.as_str(), rule.allow),
                (major, minor, access, true)
            );
        }
        for text in
            ["", "c 1:3", "d 1:3 r", "c 1 r", "c 1:+3 r", "c 1:3 x", "c 1:3 rwmr", "c 1:3 r ", "c : r"]
        {
            let error = parse_rule(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid device cgroup rule format: '{text}'"));
        }
    }

    #[test]
    fn only_block_devices_have_rates() {
        for path in ["/dev/null", "/dev/not-there"] {
            let asked = ResourceSpec {
                blkio_read_bps: vec![DeviceRate { path: path.into(), rate: 1 }],
                ..ResourceSpec::default()
            };
            assert!(block_io(&asked).unwrap_err().to_string().contains(path));
        }
        assert_eq!(block_io(&ResourceSpec::default()).unwrap(), BlockIo::default());
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
