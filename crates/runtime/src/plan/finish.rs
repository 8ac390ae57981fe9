//! The last steps of every process of a container, the first and all later ones alike.
//!
//! The order is the contract:
//! 1. what needs privilege or the parent's descriptors (keyring, limits, ownership of the standard descriptors);
//! 2. all other descriptors are closed, before the working directory could be reached through one;
//! 3. without `no_new_privileges` loading the filter needs a capability, so it happens before those go;
//! 4. bounding set, directory, user, capabilities, then `no_new_privileges`;
//! 5. the program is looked for as the user, and the process waits;
//! 6. with `no_new_privileges` the filter comes last, so that it need not allow any of this.

use std::collections::BTreeSet;

use linux::capability::Sets;
use linux::child::Step;
use linux::limit::Limit;
use oci::runtime_spec::{Process, Rlimit};

use super::{Host, Manner, Plan, invalid, path, unsupported};
use crate::defaults::capabilities;
use crate::error::Result;

impl Plan {
    /// `waiting` are the steps between finding the program and executing it.
    pub(super) fn finish(
        &mut self,
        process: &Process,
        manner: Manner<'_>,
        host: &Host,
        waiting: &[Step],
    ) -> Result<()> {
        for (label, value) in [("AppArmor", &process.apparmor_profile), ("SELinux", &process.selinux_label)] {
            if !value.is_empty() {
                return Err(unsupported(format!("{label} label `{value}`")));
            }
        }
        if !process.cwd.starts_with('/') {
            return Err(invalid(format!("working directory `{}` is not absolute", process.cwd)));
        }
        let cwd = path(&process.cwd)?;
        let (bounding, sets) = self.capabilities(process, host);
        if process.exec_cpu_affinity.is_some() {
            return Err(unsupported("`execCPUAffinity`"));
        }
        let user = &process.user;
        if !manner.keep_keyring {
            self.steps.push(Step::NewKeyring);
        }
        self.scheduling(process)?;
        let limits = process.rlimits.iter().map(|limit| rlimit(limit, manner.default_rlimits));
        let limits = limits.collect::<Result<Vec<_>>>()?;
        if self.maps.is_none() {
            self.steps.extend(limits.into_iter().map(Step::Limit));
        } else if !limits.is_empty() {
            self.steps.push(Step::AskLimits(limits));
        }
        if user.uid != 0 {
            self.steps.push(Step::OwnStdio(user.uid));
        }
        self.steps.push(Step::CloseDescriptors);
        if manner.is_filtered && !process.no_new_privileges {
            self.steps.push(Step::LoadFilter);
        }
        self.steps.extend([
            Step::BoundCapabilities(bounding),
            Step::Directory(cwd.clone()),
            Step::Identity { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone() },
            Step::Capabilities(sets),
        ]);
        if process.no_new_privileges {
            self.steps.push(Step::NoNewPrivileges);
        }
        self.steps.extend([
            Step::Umask(user.umask.unwrap_or(DEFAULT_UMASK) & 0o777),
            Step::RetryDirectory(cwd),
            Step::FindProgram,
        ]);
        self.steps.extend_from_slice(waiting);
        if manner.is_filtered && process.no_new_privileges {
            self.steps.push(Step::LoadFilter);
        }
        self.steps.push(Step::Execute);
        Ok(())
    }

    /// The bounding set and the others. What is unknown or cannot be granted is a warning, as the specification demands.
    fn capabilities(&mut self, process: &Process, host: &Host) -> (u64, Sets) {
        let wanted = process.capabilities.clone().unwrap_or_default();
        let mut refused = BTreeSet::new();
        let mut mask = |names: &[String]| {
            let mut mask = 0;
            for name in names {
                match capabilities::number(name).map(|number| 1u64 << number) {
                    Some(bit) if host.grantable & bit != 0 => mask |= bit,
                    _ => {
                        refused.insert(name.clone());
                    }
                }
            }
            mask
        };
        let bounding = mask(&wanted.bounding);
        let mut permitted = mask(&wanted.permitted);
        let inheritable = mask(&wanted.inheritable);
        let mut effective = mask(&wanted.effective) & permitted;
        let ambient = mask(&wanted.ambient) & permitted & inheritable;
        if process.user.uid != 0 {
            // execve(2) leaves an ordinary user no others. Taking them now makes the search for the program, too, happen
            // with the user's own rights.
            permitted &= ambient;
            effective &= ambient;
        }
        for name in refused {
            self.warn(format!("capability `{name}` cannot be granted on this host"));
        }
        (bounding, Sets { effective, permitted, inheritable, ambient })
    }
}

/// What login(1) leaves.
const DEFAULT_UMASK: u32 = 0o022;

/// getrlimit(2), by number.
const RESOURCES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

fn rlimit(limit: &Rlimit, defaults: &[String]) -> Result<Limit> {
    let resource = (0u32..)
        .zip(RESOURCES)
        .find_map(|(number, name)| (name == limit.kind).then_some(number))
        .ok_or_else(|| invalid(format!("unknown resource limit `{}`", limit.kind)))?;
    if limit.soft > limit.hard {
        return Err(invalid(format!("the soft limit of `{}` is above the hard one", limit.kind)));
    }
    let is_default = defaults.contains(&limit.kind);
    Ok(Limit { resource, soft: limit.soft, hard: limit.hard, is_default })
}
