//! What a container gets when nobody asks for anything else: Docker's defaults, as data.
//!
//! The engine puts these into the `config.json` that it writes; the runtime itself adds nothing of its own but the
//! device nodes, which the specification demands ("Default Devices" of `config-linux.md`).

pub mod capabilities;

use std::sync::OnceLock;

use oci::runtime_spec::{Device, DeviceRule, SpecMount};

/// Size of `/dev/shm` when nobody asks for another one: Docker's 64 MiB.
pub const SHM_SIZE_BYTES: u64 = 64 * 1024 * 1024;

/// Files that tell about the host, or that let a container disturb it.
const MASKED_PATHS: [&str; 12] = [
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

/// Files that change the host's kernel.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Path, major and minor number of the device nodes that every program may expect.
const DEVICES: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// More processors than any kernel supports (`NR_CPUS_DEFAULT` of its largest configuration).
const MAX_PROCESSORS: u32 = 8192;

/// Paths to cover. Those that do not exist on this machine are skipped when the container is made.
pub fn masked_paths() -> Vec<String> {
    MASKED_PATHS
        .iter()
        .map(|path| (*path).to_owned())
        .chain(thermal_throttle_paths().iter().cloned())
        .collect()
}

/// Paths to make read-only.
pub fn readonly_paths() -> Vec<String> {
    READONLY_PATHS.map(str::to_owned).to_vec()
}

/// The device nodes of every container, owned by root and open to all.
pub fn devices() -> Vec<Device> {
    DEVICES
        .map(|(path, major, minor)| Device {
            kind: "c".to_owned(),
            path: path.to_owned(),
            major,
            minor,
            file_mode: Some(0o666),
            uid: Some(0),
            gid: Some(0),
        })
        .to_vec()
}

/// The rules of the device controller: nothing, but that any node may be made, and the harmless ones used.
pub fn device_rules() -> Vec<DeviceRule> {
    let allow = |kind: &str, major, minor, access: &str| DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major,
        minor,
        access: access.to_owned(),
    };
    let deny_all = DeviceRule { allow: false, access: "rwm".to_owned(), ..DeviceRule::default() };
    let mut rules = vec![deny_all, allow("c", None, None, "m"), allow("b", None, None, "m")];
    rules.extend(DEVICES.map(|(_, major, minor)| allow("c", Some(major), Some(minor), "rwm")));
    rules.push(allow("c", Some(5), Some(2), "rwm")); // ptmx
    rules.push(allow("c", Some(136), None, "rwm")); // pseudo terminals
    rules.push(allow("c", Some(10), Some(200), "rwm")); // tun
    rules
}

/// The rule of a privileged container.
pub fn every_device_rule() -> DeviceRule {
    DeviceRule { allow: true, kind: Some("a".to_owned()), major: None, minor: None, access: "rwm".to_owned() }
}

/// The file systems of every container, parents first.
pub fn mounts(shm_size_bytes: u64) -> Vec<SpecMount> {
    let shm_size = format!("size={shm_size_bytes}");
    [
        ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"][..]),
        ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev", "relatime"]),
        ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm_size]),
    ]
    .map(|(destination, kind, source, options)| SpecMount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..SpecMount::default()
    })
    .to_vec()
}

/// Each processor's count of thermal events: its timing tells a container what its neighbours compute.
fn thermal_throttle_paths() -> &'static [String] {
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        (0..processors(&possible))
            .map(|processor| format!("/sys/devices/system/cpu/cpu{processor}/thermal_throttle"))
            .filter(|path| std::path::Path::new(path).exists())
            .collect()
    })
}

/// How many processors a list like `0-3,8` reaches over.
fn processors(possible: &str) -> u32 {
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(0, |last| last.saturating_add(1).min(MAX_PROCESSORS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_come_after_what_they_lie_on() {
        let mounts = mounts(SHM_SIZE_BYTES);
        for (index, mount) in mounts.iter().enumerate() {
            let lies_below =
                |later: &SpecMount| mount.destination.starts_with(&format!("{}/", later.destination));
            assert!(!mounts[index + 1..].iter().any(lies_below), "{}", mount.destination);
        }
        assert!(mounts.iter().any(|mount| mount.options.contains(&"size=67108864".to_owned())));
    }

    #[test]
    fn every_default_device_may_be_used_and_nothing_else_is_open() {
        let rules = device_rules();
        assert_eq!((rules[0].allow, rules[0].kind.as_deref()), (false, None));
        for device in devices() {
            let allows = |rule: &DeviceRule| {
                rule.allow
                    && (rule.major, rule.minor) == (Some(device.major), Some(device.minor))
                    && rule.access == "rwm"
            };
            assert!(rules.iter().any(allows), "{}", device.path);
        }
        assert!(!rules.iter().any(|rule| rule.allow && rule.major.is_none() && rule.access != "m"));
    }

    #[test]
    fn processors_are_counted_to_the_last_one() {
        for (list, expected) in
            [("0-1\n", 2), ("0\n", 1), ("0-3,8-11\n", 12), ("", 0), ("x", 0), ("0-99999999", 8192)]
        {
            assert_eq!(processors(list), expected, "{list:?}");
        }
    }
}
