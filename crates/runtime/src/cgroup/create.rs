//! Making a container's groups, whole or not at all.

use std::sync::Arc;

use oci::runtime_spec::Resources;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::directory::Directory;
use super::hierarchy::{Hierarchies, Hierarchy};
use super::path::CgroupPath;
use super::{Cgroup, DIRECTORY_MODE, Error, Result, Version, remove};

/// Another container's end may remove a parent between our making it and our using it; a few times, not for ever.
const MAX_RACES: u32 = 16;

/// The v2 controllers that limits and statistics need.
const MANAGED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

pub(super) fn create(
    hierarchies: &Hierarchies,
    path: CgroupPath,
    resources: Option<&Resources>,
) -> Result<Cgroup> {
    let mut made = Made::default();
    let mut directories = Vec::new();
    for hierarchy in hierarchies.iter() {
        make(hierarchy, &path, &mut made)?;
        let directory = Directory::open(hierarchy, &path)?;
        match hierarchy.version() {
            Version::V1 if hierarchy.has("cpuset") => inherit_cpuset(hierarchy, &path)?,
            Version::V1 => {}
            Version::V2 => enable_controllers(hierarchy, &path, &directory)?,
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

/// Makes a fresh group and the missing ones above it.
fn make(hierarchy: &Arc<Hierarchy>, path: &CgroupPath, made: &mut Made) -> Result<()> {
    let name = path.relative();
    let failed =
        |source| Error::Create { path: hierarchy.mount_point().join(name), help: help(source), source };
    for _ in 0..MAX_RACES {
        match rustix::fs::mkdirat(hierarchy.root(), name, DIRECTORY_MODE) {
            Ok(()) => {
                made.0.push((Arc::clone(hierarchy), name.to_owned()));
                return Ok(());
            }
            Err(Errno::NOENT) => {
                for parent in path.parents() {
                    match rustix::fs::mkdirat(hierarchy.root(), parent, DIRECTORY_MODE) {
                        Ok(()) => made.0.push((Arc::clone(hierarchy), parent.to_owned())),
                        Err(Errno::EXIST) => {}
                        // Its own parent was removed meanwhile.
                        Err(Errno::NOENT) => break,
                        Err(source) => return Err(failed(source)),
                    }
                }
            }
            // Left by a crash, then it is empty; its limits and counters are not ours.
            Err(Errno::EXIST) => match remove::tree(&Directory::open(hierarchy, path)?) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY | Errno::NOTEMPTY) => {
                    return Err(Error::Occupied { path: hierarchy.mount_point().join(name) });
                }
                Err(source) => return Err(failed(source)),
            },
            Err(source) => return Err(failed(source)),
        }
    }
    Err(failed(Errno::AGAIN))
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
fn enable_controllers(hierarchy: &Arc<Hierarchy>, path: &CgroupPath, leaf: &Directory) -> Result<()> {
    let wanted: Vec<&str> = MANAGED.into_iter().filter(|controller| hierarchy.has(controller)).collect();
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
