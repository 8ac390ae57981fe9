//! Making a container's groups, whole or not at all, and by one creator at a time.
//!
//! The group in the first hierarchy is locked (flock(2)) by its creator for as long as the creator holds the groups.
//! So one that exists, is not locked and has no processes was left by a crash, and nobody misses it.

use std::sync::Arc;

use oci::runtime_spec::Resources;
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::directory::Directory;
use super::hierarchy::{Hierarchies, Hierarchy};
use super::path::CgroupPath;
use super::{Cgroup, DIRECTORY_MODE, Error, Result, Version, remove};

/// Another container's end may remove a parent between our making it and our using it; a few times, not for ever.
const MAX_RACES: u32 = 16;

/// The v2 controllers that limits and statistics always need; others come with `unified`.
const MANAGED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

pub(super) fn create(
    hierarchies: &Hierarchies,
    path: CgroupPath,
    resources: Option<&Resources>,
) -> Result<Cgroup> {
    let mut made = Made::default();
    let mut directories: Vec<Directory> = Vec::new();
    for hierarchy in hierarchies.iter() {
        let first = directories.is_empty();
        let directory = make(hierarchy, &path, &mut made, if first { claim } else { |_| Ok(true) })?;
        match hierarchy.version() {
            Version::V1 if hierarchy.has("cpuset") => inherit_cpuset(hierarchy, &path)?,
            Version::V1 => {}
            Version::V2 => enable_controllers(hierarchy, &path, &directory, resources)?,
        }
        directories.push(directory);
    }
    let cgroup = Cgroup { path, directories };
    if let Some(resources) = resources {
        cgroup.apply(resources)?;
    }
    made.0.clear();
    Ok(cgroup)
}

/// The directories made so far; they go away unless all goes well.
#[derive(Default)]
struct Made(Vec<(Arc<Hierarchy>, String)>);

impl Drop for Made {
    fn drop(&mut self) {
        for (hierarchy, path) in self.0.drain(..).rev() {
            // Somebody else may use a parent by now: then it is theirs, and the kernel refuses.
            let _ = rustix::fs::unlinkat(hierarchy.root(), &path, AtFlags::REMOVEDIR);
        }
    }
}

/// Makes a fresh group and the missing ones above it. `claim` tells whether a group is now ours alone.
fn make(
    hierarchy: &Arc<Hierarchy>,
    path: &CgroupPath,
    made: &mut Made,
    claim: fn(&Directory) -> Result<bool>,
) -> Result<Directory> {
    let name = path.relative();
    let failed =
        |source| Error::Create { path: hierarchy.mount_point().join(name), help: help(source), source };
    for _ in 0..MAX_RACES {
        let fresh = match rustix::fs::mkdirat(hierarchy.root(), name, DIRECTORY_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(Errno::NOENT) => {
                make_parents(hierarchy, path, made).map_err(failed)?;
                continue;
            }
            Err(source) => return Err(failed(source)),
        };
        let directory = match Directory::open(hierarchy, path) {
            Ok(directory) => directory,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        if !claim(&directory)? {
            continue;
        }
        if fresh {
            made.0.push((Arc::clone(hierarchy), name.to_owned()));
            return Ok(directory);
        }
        // Left by a crash, if it is empty; its limits and counters are not ours, so it is not used again.
        match remove::tree(&directory) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                return Err(Error::Occupied { path: directory.host_path() });
            }
            Err(source) => return Err(failed(source)),
        }
    }
    Err(failed(Errno::AGAIN))
}

fn make_parents(hierarchy: &Arc<Hierarchy>, path: &CgroupPath, made: &mut Made) -> Result<(), Errno> {
    for parent in path.parents() {
        match rustix::fs::mkdirat(hierarchy.root(), parent, DIRECTORY_MODE) {
            Ok(()) => made.0.push((Arc::clone(hierarchy), parent.to_owned())),
            Err(Errno::EXIST) => {}
            // Its own parent was removed meanwhile: from the beginning.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Locks a group until its descriptor is closed; false when it was removed before that.
fn claim(directory: &Directory) -> Result<bool> {
    let failed = |source: Errno| Error::Open { path: directory.host_path(), source };
    match rustix::fs::flock(directory.fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Error::Occupied { path: directory.host_path() }),
        Err(source) => return Err(failed(source)),
    }
    let ours = rustix::fs::fstat(directory.fd()).map_err(failed)?;
    match rustix::fs::statat(directory.hierarchy().root(), directory.relative(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(source) => Err(failed(source)),
    }
}

/// A v1 cpuset starts without processors and memory, and nothing can run in it: takes those of the nearest group
/// above that has some, level by level, because no level may have more than the one above.
fn inherit_cpuset(hierarchy: &Arc<Hierarchy>, path: &CgroupPath) -> Result<()> {
    let levels: Vec<&str> = std::iter::once(".").chain(path.parents()).chain([path.relative()]).collect();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut empty = Vec::new();
        let mut value = String::new();
        for level in levels.iter().rev() {
            let directory = Directory::open_relative(hierarchy, level)?;
            directory.read(file)?.trim().clone_into(&mut value);
            if !value.is_empty() {
                break;
            }
            empty.push(directory);
        }
        for directory in empty.iter().rev() {
            directory.write_core(file, &value)?;
        }
    }
    Ok(())
}

/// Hands the controllers that limits need down from the root. What a parent cannot hand down is missing in the group,
/// which is an error when, and only when, a limit asks for it.
fn enable_controllers(
    hierarchy: &Arc<Hierarchy>,
    path: &CgroupPath,
    leaf: &Directory,
    resources: Option<&Resources>,
) -> Result<()> {
    let unified = resources.iter().flat_map(|resources| resources.unified.keys());
    let named = unified.filter_map(|file| Some(file.split_once('.')?.0));
    let wanted: Vec<&str> =
        MANAGED.into_iter().chain(named).filter(|controller| hierarchy.has(controller)).collect();
    let lacks = |list: &str| {
        let listed: Vec<&str> = list.split_whitespace().collect();
        wanted.iter().copied().filter(|controller| !listed.contains(controller)).collect::<Vec<&str>>()
    };
    if wanted.is_empty() || lacks(&leaf.read("cgroup.controllers")?).is_empty() {
        return Ok(());
    }
    for level in std::iter::once(".").chain(path.parents()) {
        let parent = Directory::open_relative(hierarchy, level)?;
        for controller in lacks(&parent.read("cgroup.subtree_control")?) {
            // One by one: the kernel takes all or nothing of a list.
            let _ = parent.try_write("cgroup.subtree_control", &format!("+{controller}"));
        }
    }
    Ok(())
}

fn help(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ROFS => Some("cgroups are mounted read-only here"),
        Errno::ACCESS | Errno::PERM => Some("this cgroup is not delegated to the user that corten runs as"),
        Errno::NOSPC | Errno::AGAIN => {
            Some("the kernel's bound on cgroups is reached, see cgroup.max.descendants")
        }
        _ => None,
    }
}
