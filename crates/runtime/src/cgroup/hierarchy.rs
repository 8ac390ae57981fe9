//! Which hierarchies this machine has: v1 (each with its controllers), v2, or both side by side.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, Mode, OFlags};

use super::{Error, Result};

/// A machine with ten thousand mounts has 2 MB of this; what comes after the bound is not looked at.
const MAX_MOUNTINFO_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    V1,
    V2,
}

/// One mounted tree of control groups.
#[derive(Debug)]
pub struct Hierarchy {
    mounted: Mounted,
    root: OwnedFd,
}

/// What the mount table says about a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    version: Version,
    mount_point: PathBuf,
    /// For v1 as mounted, named hierarchies (`name=systemd`) included; for v2 what its root offers.
    controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether it is cgroup v1 or v2.
    pub fn version(&self) -> Version {
        self.mounted.version
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mounted.mount_point
    }

    /// The controllers that it carries.
    pub fn controllers(&self) -> &[String] {
        &self.mounted.controllers
    }

    /// Whether it carries that controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers().iter().any(|known| known == controller)
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The hierarchies of this machine, or some of them.
#[derive(Debug, Clone)]
pub struct Hierarchies(Vec<Arc<Hierarchy>>);

impl Hierarchies {
    /// The machine's hierarchies, looked up once per process.
    pub fn mounted() -> Result<&'static Hierarchies> {
        static MOUNTED: OnceLock<Hierarchies> = OnceLock::new();
        match MOUNTED.get() {
            Some(mounted) => Ok(mounted),
            None => {
                let detected = Hierarchies::detect()?;
                Ok(MOUNTED.get_or_init(|| detected))
            }
        }
    }

    /// Looks the hierarchies up.
    pub fn detect() -> Result<Hierarchies> {
        let mut table = String::new();
        File::open("/proc/self/mountinfo")
            .and_then(|file| file.take(MAX_MOUNTINFO_BYTES).read_to_string(&mut table))
            .map_err(|source| Error::Detect { source })?;
        let hierarchies = parse(&table).into_iter().map(open).collect::<Result<Vec<_>>>()?;
        if hierarchies.is_empty() { Err(Error::NoHierarchy) } else { Ok(Hierarchies(hierarchies)) }
    }

    /// Those for which `keep` holds.
    pub fn only(&self, keep: impl Fn(&Hierarchy) -> bool) -> Hierarchies {
        Hierarchies(self.0.iter().filter(|hierarchy| keep(hierarchy)).cloned().collect())
    }

    /// Every hierarchy that is mounted.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Hierarchy>> {
        self.0.iter()
    }
}

fn open(mut mounted: Mounted) -> Result<Arc<Hierarchy>> {
    let failed = |path: &Path, source| Error::Open { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &mounted.mount_point, flags, Mode::empty())
        .map_err(|source| failed(&mounted.mount_point, source))?;
    if mounted.version == Version::V2 {
        let path = mounted.mount_point.join("cgroup.controllers");
        let list = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        mounted.controllers = list.split_whitespace().map(str::to_owned).collect();
    }
    Ok(Arc::new(Hierarchy { mounted, root }))
}

/// Finds the hierarchies in a table of proc_pid_mountinfo(5). Of several mounts of one hierarchy the first counts.
fn parse(table: &str) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(mount_point), mut right) = (left.split(' ').nth(4), right.split(' ')) else {
            continue;
        };
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        let mounted = match kind {
            "cgroup2" => {
                Mounted { version: Version::V2, mount_point: unescape(mount_point), controllers: Vec::new() }
            }
            "cgroup" => Mounted {
                version: Version::V1,
                mount_point: unescape(mount_point),
                controllers: options
                    .split(',')
                    .filter(|option| is_controller(option))
                    .map(str::to_owned)
                    .collect(),
            },
            _ => continue,
        };
        let known =
            |other: &Mounted| (other.version, &other.controllers) == (mounted.version, &mounted.controllers);
        if !found.iter().any(known) {
            found.push(mounted);
        }
    }
    found
}

/// The options of a v1 mount are its controllers and a few flags.
fn is_controller(option: &str) -> bool {
    const FLAGS: [&str; 8] =
        ["rw", "ro", "none", "noprefix", "clone_children", "cpuset_v2_mode", "xattr", "favordynmods"];
    !option.is_empty() && !FLAGS.contains(&option) && !option.starts_with("release_agent=")
}

/// Spaces, tabs, newlines and backslashes are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(escaped) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(escaped);
            rest = &after[3..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(table: &str) -> Vec<String> {
        parse(table)
            .iter()
            .map(|mounted| {
                format!(
                    "{:?} {} {}",
                    mounted.version,
                    mounted.mount_point.display(),
                    mounted.controllers.join("+")
                )
            })
            .collect()
    }

    #[test]
    fn pure_v2_is_one_hierarchy() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        assert_eq!(summary(table), ["V2 /sys/fs/cgroup "]);
    }

    #[test]
    fn hybrid_machines_have_both() {
        let table = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
            34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset,clone_children\n";
        assert_eq!(
            summary(table),
            [
                "V2 /sys/fs/cgroup/unified ",
                "V1 /sys/fs/cgroup/systemd name=systemd",
                "V1 /sys/fs/cgroup/cpu,cpuacct cpu+cpuacct",
                "V1 /sys/fs/cgroup/cpuset cpuset",
            ]
        );
    }

    #[test]
    fn a_second_mount_of_a_hierarchy_is_not_a_second_hierarchy() {
        let table = "1 0 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            2 0 0:1 / /elsewhere rw - cgroup cgroup rw,pids\n\
            3 0 0:2 / /mnt\\040a\\134b rw - cgroup2 none rw\n4 0 0:2 / /again rw - cgroup2 none rw\n";
        assert_eq!(summary(table), ["V1 /sys/fs/cgroup/pids pids", "V2 /mnt a\\b "]);
    }

    #[test]
    fn lines_of_another_shape_are_skipped() {
        assert_eq!(
            summary("\n - \nx - cgroup\na b c d e - cgroup2\n1 2 3 4 /m - cgroup"),
            ["V2 e ".to_owned(), "V1 /m ".to_owned()]
        );
    }
}
