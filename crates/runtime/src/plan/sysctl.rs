//! Kernel parameters of the container's own namespaces. All others are the host's, and refused.

use linux::child::Step;
use oci::runtime_spec::{Linux, NamespaceKind};

use super::{Plan, invalid, text};
use crate::error::Result;

/// Parameters of an ipc namespace (sysvipc(7), proc(5)).
const IPC_KEYS: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

impl Plan {
    pub(super) fn sysctls(&mut self, linux: &Linux) -> Result<()> {
        for (name, value) in &linux.sysctl {
            let key = key(name).ok_or_else(|| invalid(format!("sysctl `{name}` is not a valid name")))?;
            let kind = namespace_of(&key)
                .ok_or_else(|| invalid(format!("sysctl `{name}` is not separate for each container")))?;
            // In a namespace of somebody else it would change their parameters.
            let is_own = linux.namespaces.iter().any(|one| one.kind == kind && one.path.is_none());
            if !is_own {
                return Err(invalid(format!("sysctl `{name}` needs a namespace of the container's own")));
            }
            self.steps.push(Step::Sysctl { key: text(key)?, value: text(value.as_str())? });
        }
        Ok(())
    }
}

/// The path below `/proc/sys` of a name in either of sysctl(8)'s forms. With a slash first, slashes separate and dots
/// belong to the names (`net/ipv4/conf/eth0.100/forwarding`), else the other way round.
fn key(name: &str) -> Option<String> {
    let has_slashes = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if has_slashes { name.to_owned() } else { name.chars().map(swap).collect() };
    let is_valid = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
    };
    path.split('/').all(is_valid).then_some(path)
}

fn namespace_of(key: &str) -> Option<NamespaceKind> {
    if IPC_KEYS.contains(&key) || key.starts_with("fs/mqueue/") {
        return Some(NamespaceKind::Ipc);
    }
    if key.starts_with("net/") {
        return Some(NamespaceKind::Network);
    }
    (key == "kernel/domainname").then_some(NamespaceKind::Uts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_forms_and_no_escape() {
        let cases = [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.100/forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("net.ipv4.conf.eth0/100.forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("net/../kernel/panic", None),
            ("net.//.kernel", None),
            ("/net/core", None),
            ("net..core", None),
            ("", None),
            ("net.core\nx", None),
        ];
        for (name, expected) in cases {
            assert_eq!(key(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn only_namespaced_parameters_have_a_namespace() {
        assert_eq!(namespace_of("kernel/shmmax"), Some(NamespaceKind::Ipc));
        assert_eq!(namespace_of("fs/mqueue/msg_max"), Some(NamespaceKind::Ipc));
        assert_eq!(namespace_of("net/core/somaxconn"), Some(NamespaceKind::Network));
        for host in
            ["kernel/panic", "kernel/hostname", "vm/swappiness", "fs/file-max", "kernel/shmmax/x", "netx/y"]
        {
            assert_eq!(namespace_of(host), None, "{host}");
        }
    }
}
