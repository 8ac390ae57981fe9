//! Capability names, their numbers, and `--cap-add`, `--cap-drop`, `--privileged` (`capabilities(7)`).

use api::code::Code;

/// The capabilities of a container that asked for nothing.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Every capability, at the index of its number.
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Why capabilities were not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid capability `{0}`")]
    Unknown(String),
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

/// The kernel's number of a capability, by its full upper-case name.
pub fn number(name: &str) -> Option<u8> {
    let index = ALL.iter().position(|known| *known == name)?;
    u8::try_from(index).ok()
}

/// The capabilities of a container, as full names in the kernel's order.
///
/// Names are taken in any case, with or without `CAP_`; `ALL` adds or drops every one. What is added by name wins over
/// `--cap-drop ALL`, what is dropped by name over `--cap-add ALL`; a name in both lists is dropped, as in Docker.
pub fn resolve(add: &[String], drop: &[String], privileged: bool) -> Result<Vec<String>, Error> {
    let (adds, drops) = (parse(add)?, parse(drop)?);
    let begins_with_all = privileged || adds.contains(&"ALL");
    let begins_empty = !privileged && drops.contains(&"ALL");
    let is_given = |name: &&str| {
        if privileged {
            return true;
        }
        let is_begun = match (begins_with_all, begins_empty) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => DEFAULT.contains(name),
        };
        (is_begun || adds.contains(name)) && !drops.contains(name)
    };
    Ok(ALL.iter().filter(|name| is_given(name)).map(|name| (*name).to_owned()).collect())
}

fn parse(names: &[String]) -> Result<Vec<&'static str>, Error> {
    names
        .iter()
        .map(|given| {
            let name = given.to_ascii_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            if name == "ALL" {
                return Ok("ALL");
            }
            let known = ALL.iter().find(|known| known.strip_prefix("CAP_") == Some(name));
            known.copied().ok_or_else(|| Error::Unknown(given.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        resolve(&own(add), &own(drop), false).unwrap()
    }

    #[test]
    fn adding_and_dropping_follow_docker() {
        assert_eq!(resolved(&[], &[]).len(), 14);
        assert_eq!(resolved(&[], &["ALL"]), Vec::<String>::new());
        assert_eq!(resolved(&["chown"], &["all"]), ["CAP_CHOWN"]);
        assert_eq!(resolved(&["ALL"], &[]).len(), ALL.len());
        assert!(!resolved(&["ALL"], &["cap_sys_admin"]).contains(&"CAP_SYS_ADMIN".to_owned()));
        assert!(resolved(&["NET_ADMIN"], &[]).contains(&"CAP_NET_ADMIN".to_owned()));
        assert!(!resolved(&[], &["CAP_MKNOD"]).contains(&"CAP_MKNOD".to_owned()));
        assert_eq!(resolve(&[], &["ALL".into()], true).unwrap().len(), ALL.len());
        let error = resolve(&["NOT_A_CAP".into()], &[], false).unwrap_err();
        assert!(error.to_string().contains("NOT_A_CAP"));
    }

    #[test]
    fn numbers_are_the_kernel_s() {
        let cases = [("CAP_CHOWN", 0), ("CAP_SYS_ADMIN", 21), ("CAP_SETFCAP", 31), ("CAP_CHECKPOINT_RESTORE", 40)];
        for (name, expected) in cases {
            assert_eq!(number(name), Some(expected));
        }
        assert_eq!(number("chown"), None);
        assert!(DEFAULT.iter().all(|name| number(name).is_some()));
    }
}
