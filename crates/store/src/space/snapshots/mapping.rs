//! Snapshots whose users are others of the host, for containers with a user namespace.
//!
//! The layers stay as they are: whoever mounts them shows their files as the mapped users' (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
//! Only the snapshot's own directory, which new files go into, belongs to the mapped root from the beginning.

use std::os::unix::fs::lchown;
use std::path::Path;

use oci::mount::Mount;
use oci::runtime_spec::IdMapping;

use super::{OVERLAYFS, Refusal};
use crate::error::{Error, Result};
use crate::records::Labels;

const USERS: &str = "containerd.io/snapshot/uidmapping";
const GROUPS: &str = "containerd.io/snapshot/gidmapping";

/// The labels, which were understood: `container-id:host-id:size`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    users: String,
    groups: String,
    /// User and group of the host that are 0 in the snapshot.
    root: (u32, u32),
}

impl Mapping {
    /// What the labels of a snapshot that is made or changed say; only an overlay's is mapped.
    pub(super) fn wanted(snapshotter: &'static str, labels: &Labels) -> Result<Option<Mapping>> {
        match Mapping::of(labels)? {
            Some(_) if snapshotter != OVERLAYFS => Err(Refusal::CannotMap(snapshotter).into()),
            mapping => Ok(mapping),
        }
    }

    /// What the labels say. They need each other.
    pub(super) fn of(labels: &Labels) -> Result<Option<Mapping>> {
        let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
        let (users, groups) = (label(USERS), label(GROUPS));
        if users.is_empty() && groups.is_empty() {
            return Ok(None);
        }
        let root = (root(USERS, users)?, root(GROUPS, groups)?);
        Ok(Some(Mapping { users: users.to_owned(), groups: groups.to_owned(), root }))
    }

    /// Makes a new snapshot's directory the mapped root's.
    pub(super) fn give(&self, directory: &Path) -> Result<()> {
        let (user, group) = self.root;
        lchown(directory, Some(user), Some(group)).map_err(|source| Error::File {
            what: "give a snapshot to its root",
            path: directory.to_owned(),
            source,
        })
    }

    /// Tells whoever mounts it, in containerd's options.
    pub(super) fn on(&self, mut mount: Mount) -> Mount {
        let maps = [format!("uidmap={}", self.users), format!("gidmap={}", self.groups)];
        mount.options = maps.into_iter().chain(mount.options).collect();
        mount
    }
}

/// Whom root is in the snapshot.
fn root(label: &'static str, list: &str) -> Result<u32> {
    let refused = || Refusal::Mapping { label, value: list.to_owned() };
    let range = |one: &str| IdMapping::parse(one).filter(|mapping| mapping.size > 0).ok_or_else(refused);
    let ranges = list.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
    let root = ranges.iter().find(|range| range.container_id == 0).map(|range| range.host_id);
    Ok(root.ok_or_else(refused)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(users: &str, groups: &str) -> Result<Option<Mapping>> {
        let labels = [(USERS.to_owned(), users.to_owned()), (GROUPS.to_owned(), groups.to_owned())];
        Mapping::of(&labels.into_iter().collect())
    }

    #[test]
    fn root_is_found_in_whatever_range_it_is() {
        let found = mapping("10:5:3,0:1000:10", "0:2000:1").unwrap().unwrap();
        assert_eq!(found.root, (1000, 2000));
        assert_eq!(Mapping::of(&Labels::default()).unwrap(), None);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for (users, groups) in [
            ("0:1:1", ""),
            ("0:1", "0:1:1"),
            ("0:1:1,", "0:1:1"),
            ("1:0:5", "0:1:1"),
            ("0:1:0", "0:1:1"),
            ("0:-1:1", "0:1:1"),
        ] {
            assert!(mapping(users, groups).is_err(), "{users} {groups}");
        }
    }
}
