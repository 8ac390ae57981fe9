//! Which namespaces are new, which are joined, and the names that live in one of them.
//!
//! Usually the new ones are made by the clone itself, and the child is in them from its birth. A user namespace changes what the
//! child may do on the host, and a time namespace concerns only later children; with one of them the child prepares everything
//! and goes on in a second process:
//!
//! ```text
//! clone ─▶ cgroups, OOM score ─▶ enter those with a path ─▶ user namespace ─▶ become its root ─▶ the other new ones ─▶ fork
//!          with the host's privileges                      the parent writes the maps           owned by the user namespace
//! ```

use linux::child::{Slot, Step};
use linux::namespace;
use linux::user_namespace::{IdRange, Maps};
use oci::runtime_spec::{IdMapping, Linux, Namespace, NamespaceKind, Spec};

use super::{Host, Open, Plan, invalid, text, unsupported};
use crate::error::Result;

/// The namespaces of a specification, sorted.
#[derive(Default)]
struct Wanted {
    new: u32,
    /// Kind, and where the namespace is opened.
    joined: Vec<(u32, Slot)>,
}

impl Plan {
    pub(super) fn join_and_unshare(&mut self, linux: &Linux, host: &Host) -> Result<()> {
        let wanted = self.sort(&linux.namespaces)?;
        self.maps = user_maps(linux, host)?;
        let own = wanted.joined.iter().fold(wanted.new, |kinds, (kind, _)| kinds | kind);
        self.inherited.entered_later = own & (namespace::USER | namespace::TIME);
        if self.inherited.entered_later == 0 {
            if !linux.time_offsets.is_empty() {
                return Err(invalid("time offsets need a time namespace"));
            }
            self.at_the_clone(wanted);
        } else {
            self.in_two_processes(linux, wanted)?;
        }
        Ok(())
    }

    fn sort(&mut self, namespaces: &[Namespace]) -> Result<Wanted> {
        let mut seen = Vec::new();
        let mut wanted = Wanted::default();
        for Namespace { kind, path } in namespaces {
            if seen.contains(kind) {
                return Err(invalid(format!("namespace `{}` is given twice", name(*kind))));
            }
            seen.push(*kind);
            match path {
                Some(_) if *kind == NamespaceKind::Mount => {
                    return Err(unsupported("joining a mount namespace"));
                }
                Some(path) => {
                    let slot = self.open(Open::Namespace { path: path.clone() });
                    wanted.joined.push((flag(*kind), slot));
                }
                None => wanted.new |= flag(*kind),
            }
        }
        // Without one every mount would happen on the host, and the pivot would take the host's root away.
        if wanted.new & namespace::MOUNT == 0 {
            return Err(invalid("a container needs a mount namespace of its own"));
        }
        Ok(wanted)
    }

    fn at_the_clone(&mut self, wanted: Wanted) {
        for (kind, slot) in wanted.joined {
            if kind == namespace::PID {
                self.pid_namespace = Some(slot);
            } else {
                self.steps.push(Step::EnterNamespaces { descriptor: slot, kinds: kind });
            }
        }
        // Its root is the creator's cgroup at that time, and the child joins its own only after the clone.
        if wanted.new & namespace::CGROUP != 0 {
            self.steps.push(Step::NewNamespaces(namespace::CGROUP));
        }
        self.namespaces = wanted.new & !namespace::CGROUP;
    }

    fn in_two_processes(&mut self, linux: &Linux, wanted: Wanted) -> Result<()> {
        let (user, others): (Vec<_>, Vec<_>) =
            wanted.joined.into_iter().partition(|(kind, _)| *kind == namespace::USER);
        for (kinds, descriptor) in others.into_iter().chain(user) {
            self.steps.push(Step::EnterNamespaces { descriptor, kinds });
        }
        if let Some(maps) = &self.maps {
            if wanted.new & namespace::USER != 0 {
                self.steps.push(Step::NewUserNamespace(maps.clone()));
            }
            self.steps.push(Step::BecomeRoot);
        }
        self.steps.push(Step::NewNamespaces(wanted.new & !namespace::USER));
        if !linux.time_offsets.is_empty() {
            if wanted.new & namespace::TIME == 0 {
                return Err(invalid("time offsets need a new time namespace"));
            }
            self.steps.push(Step::AskTimeOffsets(time_offsets(linux)?));
        }
        self.steps.push(Step::Fork);
        Ok(())
    }

    /// Whether the new network namespace has a loopback that nobody has brought up.
    pub(super) fn has_new_network(&self) -> bool {
        let is_network = |kinds: u32| kinds & namespace::NETWORK != 0;
        is_network(self.namespaces)
            || self.steps.iter().any(|step| matches!(step, Step::NewNamespaces(kinds) if is_network(*kinds)))
    }

    pub(super) fn names(&mut self, spec: &Spec, linux: &Linux) -> Result<()> {
        let has_uts = linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Uts);
        for (value, step) in [
            (&spec.hostname, Step::Hostname as fn(_) -> _),
            (&spec.domainname, Step::Domainname as fn(_) -> _),
        ] {
            if value.is_empty() {
                continue;
            }
            if !has_uts {
                return Err(invalid("a host or domain name needs a uts namespace"));
            }
            if value.len() > UTS_MAX {
                return Err(invalid(format!("name `{value}` is longer than {UTS_MAX} bytes")));
            }
            self.steps.push(step(text(value.as_str())?));
        }
        Ok(())
    }
}

/// The maps of the container's user namespace, if it has one of its own.
fn user_maps(linux: &Linux, host: &Host) -> Result<Option<Maps>> {
    let given = maps(&linux.uid_mappings, &linux.gid_mappings)?;
    let user = linux.namespaces.iter().find(|namespace| namespace.kind == NamespaceKind::User);
    match (user.map(|user| &user.path), given) {
        (None, Some(_)) => Err(invalid("user mappings need a user namespace")),
        (None, None) => Ok(None),
        (Some(None), Some(maps)) => Ok(Some(maps)),
        (Some(None), None) => Err(invalid("a new user namespace needs `uidMappings` and `gidMappings`")),
        (Some(Some(path)), given) => {
            let found = host.user_maps.clone().unwrap_or_default();
            if given.is_some_and(|given| given != found) {
                let path = path.display();
                return Err(invalid(format!(
                    "user namespace `{path}` has other mappings than the specification"
                )));
            }
            Ok(Some(found))
        }
    }
}

/// Mappings of users and groups; nothing when there are none of either.
pub(super) fn maps(users: &[IdMapping], groups: &[IdMapping]) -> Result<Option<Maps>> {
    match (users, groups) {
        ([], []) => Ok(None),
        ([], _) | (_, []) => Err(invalid("`uidMappings` and `gidMappings` need each other")),
        (users, groups) => Ok(Some(Maps { users: ranges(users)?, groups: ranges(groups)? })),
    }
}

fn ranges(mappings: &[IdMapping]) -> Result<Vec<IdRange>> {
    if mappings.len() > MAPPINGS_MAX {
        return Err(invalid(format!("there are more than {MAPPINGS_MAX} mappings")));
    }
    for (number, one) in mappings.iter().enumerate() {
        let end = |id: u32| id.checked_add(one.size).filter(|_| one.size > 0);
        let said = format!("{}:{}:{}", one.container_id, one.host_id, one.size);
        if end(one.container_id).is_none() || end(one.host_id).is_none() {
            return Err(invalid(format!("user mapping {said} is empty, or ends beyond the last id")));
        }
        let meets = |a: u32, b: u32, other: &IdMapping| {
            a < b.saturating_add(other.size) && b < a.saturating_add(one.size)
        };
        let overlaps = |other: &IdMapping| {
            meets(one.container_id, other.container_id, other) || meets(one.host_id, other.host_id, other)
        };
        if mappings.iter().take(number).any(overlaps) {
            return Err(invalid(format!("user mapping {said} overlaps with another one")));
        }
    }
    let range = |one: &IdMapping| IdRange { inside: one.container_id, outside: one.host_id, size: one.size };
    Ok(mappings.iter().map(range).collect())
}

/// user_namespaces(7): lines of a map.
const MAPPINGS_MAX: usize = 340;

/// time_namespaces(7): clock, seconds, nanoseconds.
fn time_offsets(linux: &Linux) -> Result<String> {
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(invalid(format!(
                "clock `{clock}` has no offset, hint: `monotonic` and `boottime` have"
            )));
        }
        if offset.nanosecs >= 1_000_000_000 {
            return Err(invalid(format!(
                "the offset of clock `{clock}` has more than a second of nanoseconds"
            )));
        }
        lines.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    Ok(lines)
}

/// uname(2): `__NEW_UTS_LEN`.
const UTS_MAX: usize = 64;

fn flag(kind: NamespaceKind) -> u32 {
    match kind {
        NamespaceKind::Cgroup => namespace::CGROUP,
        NamespaceKind::Ipc => namespace::IPC,
        NamespaceKind::Mount => namespace::MOUNT,
        NamespaceKind::Network => namespace::NETWORK,
        NamespaceKind::Pid => namespace::PID,
        NamespaceKind::Time => namespace::TIME,
        NamespaceKind::User => namespace::USER,
        NamespaceKind::Uts => namespace::UTS,
    }
}

fn name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Mount => "mount",
        NamespaceKind::Network => "network",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Time => "time",
        NamespaceKind::User => "user",
        NamespaceKind::Uts => "uts",
    }
}
