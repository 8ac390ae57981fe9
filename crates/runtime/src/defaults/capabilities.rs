//! Capability names, their numbers (capabilities(7)), and what `--cap-add`, `--cap-drop` and `--privileged` make of
//! them.

use api::code::Code;

/// All capabilities; the position is the kernel's number.
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

/// The capabilities of a container that asked for nothing.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];

/// Why a set of capabilities cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read which capabilities this process holds")]
    Held { source: rustix::io::Errno },
    #[error(
        "capability `{name}` is not available here, hint: the kernel lacks it, or this daemon does not hold it"
    )]
    Unavailable { name: &'static str },
    #[error("unknown capability `{name}`, hint: capabilities(7) lists them")]
    Unknown { name: String },
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::Held { .. } => Code::Internal,
            Error::Unavailable { .. } => Code::FailedPrecondition,
            Error::Unknown { .. } => Code::InvalidArgument,
        }
    }
}

/// The kernel's number of a capability, by its full upper-case name.
pub fn number(name: &str) -> Option<u8> {
    ALL.iter().position(|known| *known == name).and_then(|number| u8::try_from(number).ok())
}

/// The capabilities of a container, as full names in the kernel's order.
///
/// `ALL`, and `privileged`, mean all that this process can hand on: a bound that it lacks itself it cannot give.
pub fn resolve(add: &[String], drop: &[String], privileged: bool) -> Result<Vec<String>, Error> {
    let available = linux::capability::grantable().map_err(|source| Error::Held { source })?;
    resolve_from(available, add, drop, privileged)
}

/// The full name of what is no capability; none: it is one, or `ALL`.
pub fn unknown(name: &str) -> Option<String> {
    Some(full_name(name)).filter(|full| number(full).is_none() && !is_all(name))
}

fn full_name(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

fn is_all(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("ALL")
}

/// Bits are the numbers of [`ALL`].
type Set = u64;

fn resolve_from(
    available: Set,
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<Vec<String>, Error> {
    let (add, drop) = (Request::read(add)?, Request::read(drop)?);
    let set = if privileged {
        available
    } else if add.all {
        available & !drop.named
    } else if drop.all {
        add.named
    } else {
        let default = DEFAULT.iter().filter_map(|name| number(name)).fold(0, |set, number| set | 1 << number);
        default & available & !drop.named | add.named
    };
    let names = || ALL.iter().enumerate();
    if let Some((_, name)) = names().find(|(number, _)| set & !available & 1 << number != 0) {
        return Err(Error::Unavailable { name });
    }
    Ok(names().filter(|(number, _)| set & 1 << number != 0).map(|(_, name)| (*name).to_owned()).collect())
}

/// What a list of names asks for.
#[derive(Default)]
struct Request {
    all: bool,
    named: Set,
}

impl Request {
    fn read(names: &[String]) -> Result<Request, Error> {
        let mut request = Request::default();
        for name in names {
            match number(&full_name(name)) {
                Some(number) => request.named |= 1 << number,
                None if is_all(name) => request.all = true,
                None => return Err(Error::Unknown { name: name.clone() }),
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Set = (1 << ALL.len()) - 1;

    fn resolved(add: &str, drop: &str) -> Result<Vec<String>, Error> {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        resolve_from(EVERYTHING, &list(add), &list(drop), false)
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (name, expected) in [
            ("CAP_CHOWN", Some(0)),
            ("CAP_SYS_ADMIN", Some(21)),
            ("CAP_SYS_RESOURCE", Some(24)),
            ("CAP_SETFCAP", Some(31)),
            ("CAP_CHECKPOINT_RESTORE", Some(40)),
            ("CHOWN", None),
            ("CAP_ALL", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
        assert!(DEFAULT.is_sorted_by_key(|name| number(name).unwrap()));
    }

    #[test]
    fn nothing_asked_gives_the_default() {
        assert_eq!(resolved("", "").unwrap(), DEFAULT);
    }

    #[test]
    fn names_are_understood_in_any_case_with_or_without_prefix() {
        for name in ["sys_admin", "SYS_ADMIN", "cap_sys_admin", "Cap_Sys_Admin"] {
            assert!(resolved(name, "").unwrap().contains(&"CAP_SYS_ADMIN".to_owned()), "{name}");
        }
        let without = resolved("", "chown CAP_MKNOD").unwrap();
        assert_eq!(without.len(), 12);
        assert!(!without.contains(&"CAP_CHOWN".to_owned()));
    }

    #[test]
    fn all_can_be_added_and_dropped_with_exceptions() {
        assert_eq!(resolved("ALL", "").unwrap(), ALL);
        assert_eq!(resolved("all", "SYS_ADMIN").unwrap().len(), 40);
        assert_eq!(resolved("", "all").unwrap(), Vec::<String>::new());
        assert_eq!(resolved("kill chown", "ALL").unwrap(), ["CAP_CHOWN", "CAP_KILL"]);
        assert_eq!(resolved("ALL", "ALL").unwrap(), ALL);
        // Docker's order: what is added wins over what is dropped.
        assert!(resolved("CHOWN", "CHOWN").unwrap().contains(&"CAP_CHOWN".to_owned()));
    }

    #[test]
    fn an_unknown_name_is_named() {
        assert_eq!(unknown("foo").as_deref(), Some("CAP_FOO"));
        assert_eq!((unknown("chown"), unknown("all")), (None, None));
        for name in ["SYS_ADMINN", "CAP_", "", "CAP_CAP_CHOWN", "0", "CAP_ALL"] {
            let error = resolve_from(EVERYTHING, &[name.to_owned()], &[], true).unwrap_err();
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn what_this_process_lacks_is_left_out_of_all_and_refused_by_name() {
        let available = EVERYTHING & !(1 << number("CAP_SYS_RESOURCE").unwrap());
        assert_eq!(resolve_from(available, &[], &[], true).unwrap().len(), 40);
        assert_eq!(resolve_from(available, &["ALL".to_owned()], &[], false).unwrap().len(), 40);
        let error = resolve_from(available, &["SYS_RESOURCE".to_owned()], &[], false).unwrap_err();
        assert!(matches!(error, Error::Unavailable { name: "CAP_SYS_RESOURCE" }));
    }
}
