//! `--volumes-from`: the binds and volumes of other containers, mounted in one to come as well.

use std::collections::BTreeSet;

use super::merge::clean_path;
use super::spec::{ContainerSpec, MountSpec};
use crate::engine::Engine;
use crate::error::Result;
use crate::namespaces::Namespace;

impl Engine {
    /// Adds what other containers lend. What the container asks for itself goes before it, what is lent later before what is
    /// lent earlier.
    pub(crate) fn lend_mounts(&self, namespace: &Namespace, spec: &mut ContainerSpec) -> Result<()> {
        let own: BTreeSet<String> = spec.mounts.iter().map(|mount| clean_path(mount.target())).collect();
        for mut lender in std::mem::take(&mut spec.volumes_from) {
            let record = self.index.find(namespace, &lender.container)?;
            let lent = record.spec.mounts.iter().filter_map(|mount| lend(mount, lender.readonly));
            for mount in lent.filter(|mount| !own.contains(&clean_path(mount.target()))) {
                let target = clean_path(mount.target());
                spec.mounts.retain(|other| clean_path(other.target()) != target);
                let at = mount.target().to_owned();
                spec.mounts.push(mount);
                lender.targets.push(at);
            }
            spec.volumes_from.push(lender);
        }
        Ok(())
    }
}

/// The mount as it is lent; a tmpfs and an image are their container's own.
fn lend(mount: &MountSpec, is_readonly: bool) -> Option<MountSpec> {
    let mut lent = mount.clone();
    match &mut lent {
        MountSpec::Bind(bind) => bind.readonly |= is_readonly,
        MountSpec::Volume(volume) => {
            volume.readonly |= is_readonly;
            // It has what its first container found in its image.
            volume.no_copy = true;
        }
        MountSpec::Image(_) | MountSpec::Tmpfs(_) => return None,
    }
    Some(lent)
}
