//! Mount options in `fstab` form, sorted by what the kernel calls them.

use linux::mount::{self, Attributes, Parameter};

use super::{invalid, text, unsupported};
use crate::error::Result;

/// Options of one mount, parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) is_bind: bool,
    pub(crate) is_recursive_bind: bool,
    /// For the mount itself.
    pub(crate) top: Attributes,
    /// For the mount and everything below it.
    pub(crate) recursive: Attributes,
    /// For the file system.
    pub(crate) parameters: Vec<Parameter>,
    /// Files are shown as others'.
    pub(crate) id_map: Option<IdMap>,
}

/// How far the owners of files are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdMap {
    Top,
    Recursive,
}

impl Options {
    pub(crate) fn is_read_only(&self) -> bool {
        (self.top.set | self.recursive.set) & mount::READ_ONLY != 0
    }

    /// What fsmount(2) takes for a new instance, which has nothing below it.
    pub(crate) fn attributes(&self) -> u64 {
        self.top.set | self.recursive.set
    }
}

/// Later options win over earlier ones, as in mount(8).
pub(crate) fn parse(options: &[String]) -> Result<Options> {
    let mut parsed = Options::default();
    for option in options {
        let option = option.as_str();
        if let Some((propagation, _)) = propagation(option) {
            parsed.recursive.propagation = propagation;
        } else if let Some((set, clear)) = attribute(option) {
            apply(&mut parsed.top, set, clear);
        } else if let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) {
            apply(&mut parsed.recursive, set, clear);
        } else {
            match option {
                "bind" => parsed.is_bind = true,
                "rbind" => (parsed.is_bind, parsed.is_recursive_bind) = (true, true),
                "idmap" => parsed.id_map = Some(IdMap::Top),
                "ridmap" => parsed.id_map = Some(IdMap::Recursive),
                // What a new mount is anyway.
                "" | "defaults" | "async" | "nomand" | "nolazytime" | "loud" | "silent" => {}
                "remount" | "move" | "tmpcopyup" => {
                    return Err(unsupported(format!("mount option `{option}`")));
                }
                data => parsed.parameters.push(parameter(data)?),
            }
        }
    }
    Ok(parsed)
}

fn apply(attributes: &mut Attributes, set: u64, clear: u64) {
    attributes.set = (attributes.set & !clear) | set;
    attributes.clear = (attributes.clear & !set) | clear;
}

fn parameter(option: &str) -> Result<Parameter> {
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    };
    // fsconfig(2) takes no longer ones, and would say only that one of them is invalid.
    if value.is_some_and(|value| value.len() > VALUE_MAX) {
        return Err(invalid(format!("mount option `{key}` is longer than {VALUE_MAX} bytes")));
    }
    Ok(Parameter { key: text(key)?, value: value.map(text).transpose()? })
}

/// Longest value of fsconfig(2), without its NUL.
pub(crate) const VALUE_MAX: usize = 255;

/// What is understood beside what a file system itself takes; of each attribute there is one with `r` before it, for everything
/// below.
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "unbindable",
];

/// What an option sets, and what it clears, of a mount's attributes.
fn attribute(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (mount::READ_ONLY, 0),
        "rw" => (0, mount::READ_ONLY),
        "nosuid" => (mount::NO_SUID, 0),
        "suid" => (0, mount::NO_SUID),
        "nodev" => (mount::NO_DEVICES, 0),
        "dev" => (0, mount::NO_DEVICES),
        "noexec" => (mount::NO_EXECUTION, 0),
        "exec" => (0, mount::NO_EXECUTION),
        "nosymfollow" => (mount::NO_LINKS, 0),
        "symfollow" => (0, mount::NO_LINKS),
        "nodiratime" => (mount::NO_DIRECTORY_ACCESS_TIMES, 0),
        "diratime" => (0, mount::NO_DIRECTORY_ACCESS_TIMES),
        // One choice of three, so the whole field is cleared first.
        "noatime" => (mount::NO_ACCESS_TIMES, mount::ACCESS_TIMES),
        "strictatime" => (mount::STRICT_ACCESS_TIMES, mount::ACCESS_TIMES),
        "atime" | "relatime" | "norelatime" | "nostrictatime" => (0, mount::ACCESS_TIMES),
        _ => return None,
    })
}

/// The kernel's propagation and whether the option asks for it recursively.
pub(crate) fn propagation(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "private" => (mount::PRIVATE, false),
        "rprivate" => (mount::PRIVATE, true),
        "shared" => (mount::SHARED, false),
        "rshared" => (mount::SHARED, true),
        "slave" => (mount::SLAVE, false),
        "rslave" => (mount::SLAVE, true),
        "unbindable" => (mount::UNBINDABLE, false),
        "runbindable" => (mount::UNBINDABLE, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Options {
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        parse(&options).unwrap()
    }

    #[test]
    fn later_options_win() {
        assert!(parsed(&["rw", "ro"]).is_read_only());
        let writable = parsed(&["ro", "rw"]);
        assert!(!writable.is_read_only());
        assert_eq!(writable.top.clear, mount::READ_ONLY);
        let relaxed = parsed(&["noatime", "relatime"]);
        assert_eq!((relaxed.top.set, relaxed.top.clear), (0, mount::ACCESS_TIMES));
        let exact = parsed(&["relatime", "noatime"]);
        assert_eq!(
            exact.top,
            Attributes { set: mount::NO_ACCESS_TIMES, clear: mount::ACCESS_TIMES, propagation: 0 }
        );
    }

    #[test]
    fn options_go_where_they_belong() {
        let options = parsed(&["rbind", "rro", "nosuid", "rslave", "size=64k", "volatile"]);
        assert!(options.is_bind && options.is_recursive_bind);
        assert_eq!(options.top.set, mount::NO_SUID);
        assert_eq!(options.recursive.set, mount::READ_ONLY);
        assert_eq!(options.recursive.propagation, mount::SLAVE);
        let keys: Vec<_> = options.parameters.iter().map(|one| one.key.to_str().unwrap()).collect();
        assert_eq!(keys, ["size", "volatile"]);
        assert!(options.parameters[0].value.is_some() && options.parameters[1].value.is_none());
    }

    #[test]
    fn every_option_that_is_told_is_understood() {
        for option in MOUNT_OPTIONS {
            assert!(parsed(&[option]).parameters.is_empty(), "{option}");
        }
        assert!(MOUNT_OPTIONS.is_sorted());
    }

    #[test]
    fn what_is_not_there_yet_is_refused() {
        for option in ["tmpcopyup", "remount"] {
            assert!(matches!(parse(&[option.to_owned()]), Err(crate::Error::Unsupported { .. })), "{option}");
        }
        assert!(parse(&[format!("lowerdir={}", "x".repeat(VALUE_MAX + 1))]).is_err());
    }
}
