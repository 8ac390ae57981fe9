//! Which namespaces are new, which are joined, and the names that live in one of them.

use linux::child::Step;
use linux::namespace;
use oci::runtime_spec::{Linux, Namespace, NamespaceKind, Spec};

use super::{Open, Plan, invalid, text, unsupported};
use crate::error::Result;

impl Plan {
    pub(super) fn join_and_unshare(&mut self, namespaces: &[Namespace]) -> Result<()> {
        let mut seen = Vec::new();
        for Namespace { kind, path } in namespaces {
            if seen.contains(kind) {
                return Err(invalid(format!("namespace `{}` is given twice", name(*kind))));
            }
            seen.push(*kind);
            let flag = flag(*kind).ok_or_else(|| unsupported(format!("a {} namespace", name(*kind))))?;
            match path {
                Some(_) if *kind == NamespaceKind::Mount => {
                    return Err(unsupported("joining a mount namespace"));
                }
                Some(path) => {
                    let slot = self.open(Open::Namespace { path: path.clone() });
                    if *kind == NamespaceKind::Pid {
                        self.pid_namespace = Some(slot);
                    } else {
                        self.steps.push(Step::EnterNamespaces { descriptor: slot, kinds: flag });
                    }
                }
                // Its root is the creator's cgroup at that time, and the child joins its own only after the clone.
                None if *kind == NamespaceKind::Cgroup => self.steps.push(Step::NewCgroupNamespace),
                None => self.namespaces |= flag,
            }
        }
        // Without one every mount would happen on the host, and the pivot would take the host's root away.
        if self.namespaces & namespace::MOUNT == 0 {
            return Err(invalid("a container needs a mount namespace of its own"));
        }
        Ok(())
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

/// uname(2): `__NEW_UTS_LEN`.
const UTS_MAX: usize = 64;

/// `None` for what is not there yet.
fn flag(kind: NamespaceKind) -> Option<u32> {
    match kind {
        NamespaceKind::Cgroup => Some(namespace::CGROUP),
        NamespaceKind::Ipc => Some(namespace::IPC),
        NamespaceKind::Mount => Some(namespace::MOUNT),
        NamespaceKind::Network => Some(namespace::NETWORK),
        NamespaceKind::Pid => Some(namespace::PID),
        NamespaceKind::Uts => Some(namespace::UTS),
        NamespaceKind::Time | NamespaceKind::User => None,
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
