//! Volumes that are a file system of their own: the options `type`, `device` and `o` of Docker's driver `local`.
//!
//! It is mounted on the volume's `_data` by the first container that uses it and unmounted after the last one. What is
//! mounted is the kernel's to know; who uses it is known here, and after a new start of the engine learned again from the
//! containers that run. <https://man7.org/linux/man-pages/man8/mount.8.html> has the options.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::error::{Error, Result};

/// The kernel takes one page of options.
const DATA_MAX_BYTES: usize = 4095;
/// More mounts on one place than anybody stacks.
const STACKED_MAX: usize = 64;

/// Options of mount(8) that are flags of mount(2), and whether they set or clear theirs.
const FLAGS: [(&str, bool, MountFlags); 23] = [
    ("ro", true, MountFlags::RDONLY),
    ("rw", false, MountFlags::RDONLY),
    ("nosuid", true, MountFlags::NOSUID),
    ("suid", false, MountFlags::NOSUID),
    ("nodev", true, MountFlags::NODEV),
    ("dev", false, MountFlags::NODEV),
    ("noexec", true, MountFlags::NOEXEC),
    ("exec", false, MountFlags::NOEXEC),
    ("sync", true, MountFlags::SYNCHRONOUS),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("mand", true, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("nomand", false, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("noatime", true, MountFlags::NOATIME),
    ("atime", false, MountFlags::NOATIME),
    ("nodiratime", true, MountFlags::NODIRATIME),
    ("diratime", false, MountFlags::NODIRATIME),
    ("relatime", true, MountFlags::RELATIME),
    ("norelatime", false, MountFlags::RELATIME),
    ("strictatime", true, MountFlags::STRICTATIME),
    ("nostrictatime", false, MountFlags::STRICTATIME),
    ("bind", true, MountFlags::BIND),
    ("rbind", true, MountFlags::BIND.union(MountFlags::REC)),
];

const PROPAGATIONS: [(&str, MountPropagationFlags); 8] = [
    ("private", MountPropagationFlags::PRIVATE),
    ("rprivate", MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC)),
    ("shared", MountPropagationFlags::SHARED),
    ("rshared", MountPropagationFlags::SHARED.union(MountPropagationFlags::REC)),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("rslave", MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC)),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    ("runbindable", MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC)),
];

/// What is mounted as a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSystem {
    kind: String,
    device: String,
    options: String,
}

impl FileSystem {
    /// Reads the options of a volume, with Docker's words for what is wrong. None: the volume is a plain directory.
    pub(super) fn read(name: &str, options: &BTreeMap<String, String>) -> Result<Option<FileSystem>> {
        let invalid = |why: String| Err(Error::InvalidArgument(format!("create {name}: {why}")));
        if let Some(unknown) = options.keys().find(|key| !["type", "o", "device", "size"].contains(&&***key))
        {
            return invalid(format!("invalid option: {unknown:?}"));
        }
        if options.contains_key("size") {
            return invalid("quota size requested but no quota support".into());
        }
        if options.is_empty() {
            return Ok(None);
        }
        for required in ["device", "type"] {
            if !options.contains_key(required) {
                return invalid(format!("missing required option: {required:?}"));
            }
        }
        let text = |key: &str| options.get(key).cloned().unwrap_or_default();
        let system = FileSystem { kind: text("type"), device: text("device"), options: text("o") };
        let texts = [&system.kind, &system.device, &system.options];
        if texts.iter().any(|text| text.contains('\0') || text.len() > DATA_MAX_BYTES) {
            return invalid("an option is too long, or contains a zero byte".into());
        }
        let words = || system.options.split(',');
        if let Some(word) = words().find(|word| matches!(*word, "remount" | "move")) {
            return invalid(format!("the mount option `{word}` makes no volume"));
        }
        Ok(Some(system))
    }

    fn mount(&self, target: &Path) -> Result<()> {
        let mut plan = Plan::of(&self.options);
        plan.resolve_address(&self.kind).map_err(|source| self.failed(target, &plan, source))?;
        plan.perform(self, target).map_err(|source| self.failed(target, &plan, source))
    }

    fn failed(&self, target: &Path, plan: &Plan, source: io::Error) -> Error {
        let mut what = format!("mount {}:{}", self.device, target.display());
        if !plan.flags.is_empty() {
            what += &format!(", flags: {:#x}", plan.flags.bits());
        }
        if !plan.data.is_empty() {
            what += &format!(", data: {}", plan.data.join(","));
        }
        Error::MountVolume { path: target.to_owned(), what, source }
    }
}

/// The words of `o`, sorted by who understands them.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    flags: MountFlags,
    propagation: Vec<MountPropagationFlags>,
    data: Vec<String>,
}

impl Plan {
    fn of(options: &str) -> Plan {
        let mut plan = Plan { flags: MountFlags::empty(), propagation: Vec::new(), data: Vec::new() };
        for word in options.split(',').filter(|word| !matches!(*word, "" | "defaults")) {
            if let Some((_, sets, flag)) = FLAGS.iter().find(|(name, ..)| *name == word) {
                plan.flags.set(*flag, *sets);
            } else if let Some((_, flags)) = PROPAGATIONS.iter().find(|(name, _)| *name == word) {
                plan.propagation.push(*flags);
            } else {
                plan.data.push(word.to_owned());
            }
        }
        plan
    }

    /// The kernel's network file systems take no names of hosts.
    fn resolve_address(&mut self, kind: &str) -> io::Result<()> {
        if !kind.starts_with("nfs") && kind != "cifs" {
            return Ok(());
        }
        for word in &mut self.data {
            if let Some(host) = word.strip_prefix("addr=")
                && host.parse::<IpAddr>().is_err()
            {
                let found = (host, 0).to_socket_addrs()?.next();
                let found = found.ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
                *word = format!("addr={}", found.ip());
            }
        }
        Ok(())
    }

    fn perform(&self, system: &FileSystem, target: &Path) -> io::Result<()> {
        let data = CString::new(self.data.join(","))?;
        let data = Some(data.as_c_str()).filter(|data| !data.is_empty());
        let is_bind = self.flags.contains(MountFlags::BIND);
        let first = if is_bind { self.flags & (MountFlags::BIND | MountFlags::REC) } else { self.flags };
        rustix::mount::mount(&*system.device, target, &*system.kind, first, data)?;
        // A bind takes its flags only when it is there.
        let rest = || {
            if is_bind && first != self.flags {
                rustix::mount::mount_remount(target, self.flags | MountFlags::BIND, c"")?;
            }
            self.propagation.iter().try_for_each(|flags| rustix::mount::mount_change(target, *flags))
        };
        rest().map_err(|errno| {
            // What is half done is worse than nothing; that it cannot be undone would have no other reader.
            let _ = unmount(target);
            errno.into()
        })
    }
}

/// Who uses the volumes that are file systems of their own.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    uses: Mutex<Uses>,
}

#[derive(Debug, Default)]
struct Uses {
    /// By volume. Each has a lock of its own: a server that does not answer holds up only those who want it.
    users: HashMap<String, Arc<Mutex<BTreeSet<String>>>>,
    /// By user.
    volumes: HashMap<String, BTreeSet<String>>,
}

impl Mounted {
    /// Notes the user, and mounts the volume if it is not mounted.
    pub(super) fn acquire(&self, volume: &str, user: &str, system: &FileSystem, target: &Path) -> Result<()> {
        let users = self.note(volume, user);
        let mut users = lock(&users);
        let looked = is_mount_point(target);
        let looked = looked.map_err(|source| Error::File {
            what: "look at the volume",
            path: target.into(),
            source,
        })?;
        if !looked {
            system.mount(target)?;
        }
        users.insert(user.to_owned());
        Ok(())
    }

    /// Notes a user of before, who found it mounted.
    pub(super) fn adopt(&self, volume: &str, user: &str) {
        lock(&self.note(volume, user)).insert(user.to_owned());
    }

    fn note(&self, volume: &str, user: &str) -> Arc<Mutex<BTreeSet<String>>> {
        let mut uses = lock(&self.uses);
        uses.volumes.entry(user.to_owned()).or_default().insert(volume.to_owned());
        uses.users.entry(volume.to_owned()).or_default().clone()
    }

    /// The user needs none of its volumes any more; those that nobody needs are unmounted.
    pub(super) fn release(&self, user: &str, target: impl Fn(&str) -> std::path::PathBuf) {
        let volumes = lock(&self.uses).volumes.remove(user).unwrap_or_default();
        for volume in volumes {
            let Some(users) = lock(&self.uses).users.get(&volume).cloned() else { continue };
            {
                let mut users = lock(&users);
                users.remove(user);
                if users.is_empty() {
                    unmount_or_warn(&target(&volume));
                }
            }
            // Ours and the table's: whoever wants it now comes through the table, which is locked.
            let mut uses = lock(&self.uses);
            if Arc::strong_count(&users) == 2 && lock(&users).is_empty() {
                uses.users.remove(&volume);
            }
        }
    }

    /// Unmounts a volume that nobody uses, if it is mounted: after a daemon that was killed.
    pub(super) fn sweep(&self, volume: &str, target: &Path) {
        let users = lock(&self.uses).users.get(volume).cloned();
        if users.is_none_or(|users| lock(&users).is_empty()) && is_mount_point(target).unwrap_or(false) {
            unmount_or_warn(target);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something is mounted exactly there. No such directory: no.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    // A server that does not answer is not asked.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        // A network file system whose server has forgotten it; it is mounted, though.
        Err(rustix::io::Errno::STALE) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes away all that is mounted on a path. Containers that run keep their own mounts of it.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    for _ in 0..STACKED_MAX {
        if !is_mount_point(path)? {
            return Ok(());
        }
        rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Err(io::Error::other("too much is mounted there"))
}

fn unmount_or_warn(path: &Path) {
    if let Err(error) = unmount(path) {
        tracing::warn!(path = %path.display(), %error, "a volume could not be unmounted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Option<FileSystem>> {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        FileSystem::read("va", &options)
    }

    #[test]
    fn wrong_options_are_refused_in_dockers_words() {
        for (options, expected) in [
            (&[("foo", "1")][..], "create va: invalid option: \"foo\""),
            (&[("type", "tmpfs")], "create va: missing required option: \"device\""),
            (&[("device", "tmpfs")], "create va: missing required option: \"type\""),
            (&[("o", "x")], "create va: missing required option: \"device\""),
            (&[("size", "10m")], "create va: quota size requested but no quota support"),
            (
                &[("type", "none"), ("device", "/x"), ("o", "bind,remount")],
                "create va: the mount option `remount` makes no volume",
            ),
        ] {
            assert_eq!(read(options).unwrap_err().to_string(), expected);
        }
        assert_eq!(read(&[]).unwrap(), None);
        assert!(read(&[("type", "tmpfs"), ("device", "tmpfs")]).unwrap().is_some());
    }

    #[test]
    fn words_go_to_who_understands_them() {
        let plan = Plan::of("bind,ro,nosuid,rshared,size=1m,,defaults,uid=7,rw");
        assert_eq!(plan.flags, MountFlags::BIND | MountFlags::NOSUID);
        assert_eq!(plan.propagation, [MountPropagationFlags::SHARED | MountPropagationFlags::REC]);
        assert_eq!(plan.data, ["size=1m", "uid=7"]);
    }

    #[test]
    fn only_network_file_systems_have_their_host_looked_up() {
        let mut plan = Plan::of("addr=localhost,ro");
        plan.resolve_address("ext4").unwrap();
        assert_eq!(plan.data, ["addr=localhost"]);
        plan.resolve_address("nfs4").unwrap();
        assert!(plan.data[0].strip_prefix("addr=").unwrap().parse::<IpAddr>().unwrap().is_loopback());
    }
}
