//! What the engine and its machine are.

use std::sync::Arc;

use crate::blocking::blocking;
use crate::containers::Status;
use crate::engine::{Engine, SNAPSHOTTER};
use crate::error::Result;
use crate::namespaces::Namespace;
use crate::random;

/// What `docker info` shows of the engine.
#[derive(Debug, Clone, Default)]
pub struct Info {
    /// Of this machine; it stays the same.
    pub id: String,
    pub containers: usize,
    pub containers_running: usize,
    pub containers_paused: usize,
    pub containers_stopped: usize,
    pub images: usize,
    pub snapshotter: String,
    /// The file system below the root.
    pub backing_file_system: String,
    pub root: String,
    /// Where descriptions of devices are looked for.
    pub cdi_directories: Vec<String>,
    pub hostname: String,
    /// Of containers that do not say.
    pub log_driver: String,
    pub kernel_version: String,
    pub operating_system: String,
    pub os_version: String,
    /// `x86_64`
    pub architecture: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    /// `1` or `2`
    pub cgroup_version: u8,
    pub event_listeners: usize,
    pub open_files: usize,
    pub tasks: usize,
    pub warnings: Vec<String>,
}

/// What `docker version` shows of the engine.
#[derive(Debug, Clone, Default)]
pub struct Version {
    pub version: &'static str,
    pub kernel_version: String,
    pub os: &'static str,
    /// Go's word for it: `amd64`, `arm64`.
    pub architecture: &'static str,
}

/// Whether containers can have snapshots whose files are shown as others' ([`runtime::Rootfs::maps_owners`]).
pub fn maps_owners() -> bool {
    runtime::Rootfs::maps_owners()
}

impl Engine {
    /// What the engine has and runs on.
    pub(crate) async fn info(self: &Arc<Self>, namespace: &Namespace) -> Result<Info> {
        let (engine, namespace) = (self.clone(), namespace.clone());
        blocking(move || engine.gather(&namespace)).await
    }

    /// What tells this installation from all others, in the form of a UUID (RFC 9562, version 4); made when somebody first asks.
    pub async fn uuid(&self) -> Result<String> {
        let store = self.store.clone();
        Ok(blocking(move || store.fact_or("uuid", random_uuid())).await?)
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION"),
            kernel_version: uname(rustix::system::Uname::release),
            os: std::env::consts::OS,
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        }
    }

    fn gather(&self, namespace: &Namespace) -> Result<Info> {
        let statuses: Vec<Status> =
            self.index.all_in(namespace).iter().map(|record| self.view(record).state.status).collect();
        let count = |wanted: &[Status]| statuses.iter().filter(|status| wanted.contains(status)).count();
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let of_host = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Ok(Info {
            id: of_host("/etc/machine-id").trim().to_owned(),
            containers: statuses.len(),
            containers_running: count(&[Status::Running, Status::Restarting]),
            containers_paused: count(&[Status::Paused]),
            containers_stopped: count(&[Status::Created, Status::Exited, Status::Dead, Status::Removing]),
            images: self.count_images(namespace)?,
            snapshotter: SNAPSHOTTER.into(),
            backing_file_system: rustix::fs::statfs(&self.config.root)
                .map_or(String::new(), |stat| file_system(stat.f_type)),
            root: self.config.root.display().to_string(),
            cdi_directories: self
                .config
                .cdi_directories
                .iter()
                .map(|directory| directory.display().to_string())
                .collect(),
            hostname: uname(rustix::system::Uname::nodename),
            log_driver: self.config.log.driver.clone(),
            kernel_version: uname(rustix::system::Uname::release),
            operating_system: release_value(&os_release, "PRETTY_NAME"),
            os_version: release_value(&os_release, "VERSION_ID"),
            architecture: uname(rustix::system::Uname::machine),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get()),
            memory_bytes: memory_bytes(&of_host("/proc/meminfo")),
            cgroup_version: cgroup_version(),
            event_listeners: self.events.listeners(),
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            tasks: std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count),
            warnings: self.warnings(),
        })
    }

    fn warnings(&self) -> Vec<String> {
        let recovery = self.store.recovery();
        let mut warnings = Vec::new();
        match &recovery.origin {
            store::Origin::New | store::Origin::Intact => {}
            store::Origin::Backup { damaged } => warnings.push(format!(
                "the database was damaged and is now its last backup; the damaged one is `{}`",
                damaged.display()
            )),
            store::Origin::Lost { damaged } => warnings.push(format!(
                "the database was damaged and there was no backup; the damaged one is `{}`",
                damaged.display()
            )),
        }
        for row in &recovery.damaged_rows {
            warnings.push(format!("a damaged record was removed from the database: {row}"));
        }
        for name in &recovery.lost_snapshots {
            warnings.push(format!("the files of snapshot `{name}` are gone"));
        }
        warnings
    }
}

/// The unified hierarchy alone has its controllers at the top.
pub(crate) fn cgroup_version() -> u8 {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { 2 } else { 1 }
}

fn uname(field: impl Fn(&rustix::system::Uname) -> &std::ffi::CStr) -> String {
    field(&rustix::system::uname()).to_string_lossy().into_owned()
}

/// A value of os-release(5).
fn release_value(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// `MemTotal` of proc_meminfo(5).
pub(crate) fn memory_bytes(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Names of the magic numbers of statfs(2).
fn file_system(magic: i64) -> String {
    match magic {
        0xef53 => "extfs".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlayfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        other => format!("{other:#x}"),
    }
}

/// A UUID of random bits.
fn random_uuid() -> String {
    let mut bytes: [u8; 16] = random::bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    [0..4, 4..6, 6..8, 8..10, 10..16].map(digits).join("-")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_host_says_is_read() {
        let release = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=12\n";
        assert_eq!(super::release_value(release, "PRETTY_NAME"), "Debian GNU/Linux 12");
        assert_eq!(super::release_value(release, "VERSION_ID"), "12");
        assert_eq!(super::release_value(release, "MISSING"), "");
        assert_eq!(super::memory_bytes("MemFree: 1 kB\nMemTotal:       24 kB\n"), 24 * 1024);
        assert_eq!(super::memory_bytes(""), 0);
    }
}
