//! What a container gets when nobody asks for anything else: Docker's defaults, as data.

pub mod capabilities;

use oci::runtime_spec::{Device, DeviceRule, SpecMount};

/// Files and directories of the kernel that tell about the host or let a container disturb it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Files and directories of the kernel that may be looked at only.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Device nodes, all character devices of mode 0666: path, major, minor.
const DEVICES: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Character devices that may be used: major, minor (`None`: every one). The pseudo-terminals are 136; `/dev/ptmx` is 5:2.
const ALLOWED: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Paths that are hidden.
pub fn masked_paths() -> Vec<String> {
    MASKED.iter().map(|path| (*path).to_owned()).collect()
}

/// Paths that are read-only.
pub fn readonly_paths() -> Vec<String> {
    READONLY.iter().map(|path| (*path).to_owned()).collect()
}

/// The device nodes of every container.
pub fn devices() -> Vec<Device> {
    let device = |(path, major, minor): (&str, i64, i64)| Device {
        kind: "c".into(),
        path: path.into(),
        major,
        minor,
        file_mode: Some(0o666),
        uid: Some(0),
        gid: Some(0),
    };
    DEVICES.map(device).into()
}

/// The rules of the device controller, deny-all first: any node may be made, the listed ones may be used.
pub fn device_rules() -> Vec<DeviceRule> {
    let rule = |allow, kind: &str, major, minor, access: &str| DeviceRule {
        allow,
        kind: Some(kind.into()),
        major,
        minor,
        access: access.into(),
    };
    let mut rules = vec![
        rule(false, "a", None, None, "rwm"),
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
    ];
    rules.extend(ALLOWED.map(|(major, minor)| rule(true, "c", Some(major), minor, "rwm")));
    rules
}

/// `/proc`, `/dev` and what lies below, `/sys`, in order. `shm_size_bytes` for `/dev/shm`.
pub fn mounts(shm_size_bytes: u64) -> Vec<SpecMount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| SpecMount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: options.split(',').map(str::to_owned).collect(),
    };
    vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", &format!("nosuid,noexec,nodev,mode=1777,size={shm_size_bytes}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_made_may_be_used() {
        for device in devices() {
            let is_allowed = device_rules().iter().any(|rule| {
                rule.allow && rule.major == Some(device.major) && rule.minor == Some(device.minor) && rule.access == "rwm"
            });
            assert!(is_allowed, "{}", device.path);
        }
        assert!(!device_rules()[0].allow, "everything is denied first");
    }

    #[test]
    fn what_is_mounted_comes_after_what_it_lies_in() {
        let mounts: Vec<String> = mounts(1).into_iter().map(|mount| mount.destination).collect();
        for (index, path) in mounts.iter().enumerate() {
            let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
            let position = mounts.iter().position(|other| *other == parent);
            assert!(position.is_none_or(|position| position < index), "{path}");
        }
    }
}
