//! What this machine's kernel has to say to a container's confinement.

use runtime::cgroup::{Hierarchies, Version};

use super::spec::{CgroupNamespaceMode, ContainerSpec};
use crate::error::{Error, Result};

const APPARMOR_SWITCH: &str = "/sys/module/apparmor/parameters/enabled";

/// Refuses what could not be kept.
pub(crate) fn check(spec: &ContainerSpec) -> Result<()> {
    let switch = std::fs::read_to_string(APPARMOR_SWITCH).unwrap_or_default();
    check_apparmor(&spec.apparmor_profile, switch.starts_with('Y'))?;
    // The directories of version 1 that a container sees have files that reach beyond it.
    let is_unified =
        || Hierarchies::mounted().is_ok_and(|found| found.iter().all(|one| one.version() == Version::V2));
    if spec.writable_cgroups && (!is_unified() || spec.cgroup_namespace == CgroupNamespaceMode::Host) {
        return Err(Error::InvalidArgument(
            "`--security-opt writable-cgroups=true` needs cgroup v2 alone and a private cgroup namespace"
                .into(),
        ));
    }
    Ok(())
}

/// Without AppArmor in the kernel Docker's own profile is nothing, as with dockerd; another one somebody relies on.
fn check_apparmor(profile: &str, has_apparmor: bool) -> Result<()> {
    match profile {
        "" | "unconfined" => Ok(()),
        "docker-default" if !has_apparmor => Ok(()),
        _ if has_apparmor => Err(Error::Unsupported(format!(
            "AppArmor (`--security-opt apparmor={profile}`) is not there yet"
        ))),
        _ => Err(Error::InvalidArgument(format!(
            "the AppArmor profile {profile:?} cannot be applied: this kernel has no AppArmor"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::check_apparmor;

    #[test]
    fn a_profile_that_would_not_hold_is_refused() {
        for (profile, with, without) in [
            ("", true, true),
            ("unconfined", true, true),
            ("docker-default", false, true),
            ("mine", false, false),
        ] {
            assert_eq!(check_apparmor(profile, true).is_ok(), with, "{profile}");
            assert_eq!(check_apparmor(profile, false).is_ok(), without, "{profile}");
        }
    }
}
