//! `create`: from a specification to a container whose first process waits to be started.

use std::os::fd::{AsFd, OwnedFd};

use linux::capability;
use linux::user_namespace::Maps;
use oci::runtime_spec::{NamespaceKind, Resources, Spec};

use crate::cgroup::Cgroup;
use crate::container::{Container, Waiting};
use crate::defaults;
use crate::error::{Error, Result, Warning};
use crate::launch::{self, Outcome};
use crate::open::{self, Given, cannot};
use crate::plan::{self, CgroupView, Host, Manner, Open};
use crate::rootfs::Rootfs;
use crate::seccomp;
use crate::stdio::Stdio;

/// What to create.
#[derive(Debug)]
pub struct Create<'a> {
    /// Names the container in errors and in its cgroup when `linux.cgroupsPath` is empty.
    pub id: &'a str,
    /// `root.path` and `process.terminal` are not looked at: `rootfs` and `stdio` say it.
    pub spec: &'a Spec,
    pub rootfs: Rootfs,
    pub stdio: Stdio,
    /// Kinds of rlimit (`RLIMIT_NOFILE`) that nobody asked for: one that the kernel refuses is lowered, with a warning.
    pub default_rlimits: &'a [String],
    /// Make `process.cwd` when it does not exist.
    pub ensure_cwd: bool,
    /// The container's processes stay in the session keyring of their parent.
    pub keep_keyring: bool,
}

/// A container that waits for [`Container::start`].
#[derive(Debug)]
pub struct Created {
    pub container: Container,
    /// The master of [`Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// What could not be granted and need not be.
    pub warnings: Vec<Warning>,
}

/// Creates a container. When it fails nothing is left: no process, no mount, no cgroup.
///
/// A program that does not exist or may not be executed is found out here, not at start: [`Error::code`] is then
/// `NotFound` (exit status 127) or `PermissionDenied` (126) and the message is the one that Docker's users know.
pub fn create(request: Create<'_>) -> Result<Created> {
    let id = request.id.to_owned();
    let linux = request.spec.linux.as_ref();
    let path = cgroup_path(request.spec, &id);
    let filter = linux.and_then(|linux| linux.seccomp.as_ref()).map(seccomp::compile).transpose();
    let filter = filter.map_err(|source| Error::Seccomp { source })?;
    let resources = linux.and_then(|linux| linux.resources.clone()).map(with_default_devices);
    let cgroup = Cgroup::create(&path, resources.as_ref())
        .map_err(|source| Error::Cgroup { id: id.clone(), source })?;
    match create_in(request, &cgroup, filter.as_ref()) {
        Ok(made) => {
            let (terminal, warnings) = (made.terminal, made.warnings);
            let container = Container::new(id, made.waiting, made.rootfs, (cgroup, filter));
            Ok(Created { container, terminal, warnings })
        }
        Err(error) => {
            // The error that the caller should see is the first one; an empty cgroup that stays is found by recovery.
            let _ = cgroup.kill_all();
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

/// The control group of a container, as its specification says or as it is chosen.
pub fn cgroup_path(spec: &Spec, id: &str) -> String {
    match spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str()) {
        None | Some("") => format!("/corten/{id}"),
        Some(path) => path.to_owned(),
    }
}

struct Made {
    waiting: Waiting,
    rootfs: OwnedFd,
    terminal: Option<OwnedFd>,
    warnings: Vec<Warning>,
}

fn create_in(request: Create<'_>, cgroup: &Cgroup, filter: Option<&seccomp::Program>) -> Result<Made> {
    let in_cgroup = |source| Error::Cgroup { id: request.id.to_owned(), source };
    let manner = Manner {
        stdio: request.stdio.plan(),
        is_filtered: filter.is_some(),
        default_rlimits: request.default_rlimits,
        ensure_cwd: request.ensure_cwd,
        keep_keyring: request.keep_keyring,
    };
    let host = Host { user_maps: joined_users(request.spec)?, ..host(Some(cgroup))? };
    let plan = plan::create(request.spec, manner, &host)?;
    let given =
        Given { rootfs: Some(request.rootfs.into_fd()), init: None, root: None, stdio: request.stdio };
    let descriptors = open::open_all(&plan, given)?;
    let join = cgroup.join_fds().map_err(in_cgroup)?;
    let (child, outcome, warnings) = launch::launch(&plan, &descriptors, &join, filter)?;
    if let Outcome::Runs = outcome {
        // A child that has not been started cannot have executed anything: something killed it.
        return Err(Error::Died { id: request.id.to_owned() });
    }
    let mut rootfs = None;
    let mut terminal = None;
    for (open, descriptor) in plan.opens.iter().zip(descriptors) {
        match open {
            Open::Rootfs => rootfs = Some(descriptor),
            Open::Master { .. } => terminal = Some(descriptor),
            _ => {}
        }
    }
    let rootfs = rootfs.ok_or_else(|| Error::Invalid { what: "the plan has no root".into() })?;
    Ok(Made { waiting: Waiting { child, plan }, rootfs, terminal, warnings })
}

/// What plans depend on. Only a first process needs the cgroup's directories.
pub(crate) fn host(cgroup: Option<&Cgroup>) -> Result<Host> {
    let grantable = capability::grantable().map_err(cannot("read own capabilities"))?;
    let views = cgroup.map(Cgroup::directories).unwrap_or_default();
    let cgroup_views = views.into_iter().map(|(name, directory)| CgroupView { name, directory }).collect();
    Ok(Host { grantable, cgroup_views, user_maps: None })
}

/// The users of the user namespace that the specification names by its path.
fn joined_users(spec: &Spec) -> Result<Option<Maps>> {
    let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let user = namespaces.find(|namespace| namespace.kind == NamespaceKind::User);
    let Some(path) = user.and_then(|user| user.path.as_ref()) else { return Ok(None) };
    let namespace = open::namespace(path)?;
    let maps = Maps::of_namespace(namespace.as_fd());
    let what = || format!("read the user mappings of `{}`", path.display());
    maps.map(Some).map_err(|error| cannot(what())(open::errno(&error)))
}

/// The limits, and the device rules without which no container works, as runc adds them: dockerd denies everything and allows
/// neither `/dev/full` nor that a node is made.
fn with_default_devices(mut resources: Resources) -> Resources {
    if !resources.devices.is_empty() {
        // The first denies everything, which the specification has done where it wants to.
        let missing = defaults::device_rules().into_iter().skip(1);
        let missing: Vec<_> = missing.filter(|rule| !resources.devices.contains(rule)).collect();
        resources.devices.extend(missing);
    }
    resources
}

#[cfg(test)]
mod tests {
    use oci::runtime_spec::DeviceRule;

    use super::*;

    #[test]
    fn what_every_container_needs_is_allowed_after_everything_was_denied() {
        let deny_all = DeviceRule { access: "rwm".into(), ..DeviceRule::default() };
        let full = defaults::device_rules().into_iter().find(|rule| rule.minor == Some(7)).unwrap();
        let bare = Resources { devices: vec![deny_all.clone()], ..Resources::default() };
        assert_eq!(with_default_devices(bare).devices, defaults::device_rules());
        let named = Resources { devices: vec![deny_all, full.clone()], ..Resources::default() };
        let named = with_default_devices(named).devices;
        assert_eq!(named.iter().filter(|rule| **rule == full).count(), 1, "not twice");
        assert!(with_default_devices(Resources::default()).devices.is_empty(), "nobody spoke of devices");
    }
}
