//! The grammar of cgroup paths: absolute, and only names between the slashes.

use super::{Error, Result};

/// Each level costs every process in it a little at every charge; nobody nests this deep on purpose.
const MAX_DEPTH: usize = 32;

/// Longest name that cgroupfs takes (`NAME_MAX`).
const MAX_NAME_BYTES: usize = 255;

/// Refuses what is no path of a group, as [`super::Cgroup::create`] would.
pub fn check_path(text: &str) -> Result<()> {
    CgroupPath::parse(text).map(drop)
}

/// A path below the roots of the hierarchies: `/name`, `/name/name`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupPath(String);

impl CgroupPath {
    /// Repeated and final slashes are forgiven, because callers join paths; nothing else is.
    pub(super) fn parse(text: &str) -> Result<CgroupPath> {
        let invalid = |reason| Err(Error::InvalidPath { path: text.to_owned(), reason });
        if !text.starts_with('/') {
            return invalid(
                "it must begin with `/`, hint: systemd's `slice:prefix:name` is not supported yet",
            );
        }
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return invalid("the root of the hierarchies belongs to the machine");
        }
        if names.len() > MAX_DEPTH {
            return invalid("it is too deep");
        }
        for name in &names {
            if *name == "." || *name == ".." {
                return invalid("it contains `.` or `..`");
            }
            if name.len() > MAX_NAME_BYTES {
                return invalid("a name is longer than 255 bytes");
            }
            if name.chars().any(char::is_control) {
                return invalid("it contains a control character");
            }
            if name.starts_with("cgroup.") {
                return invalid("names that begin with `cgroup.` are the kernel's");
            }
        }
        Ok(CgroupPath(format!("/{}", names.join("/"))))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as openat(2) takes it below a hierarchy's root.
    pub(super) fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The groups above this one, from the top, relative like [`Self::relative`].
    pub(super) fn parents(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.relative().match_indices('/').map(|(slash, _)| &self.relative()[..slash])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_made_of_names() {
        for (text, expected) in [
            ("/a", Some("/a")),
            ("/a/b", Some("/a/b")),
            ("//a///b/", Some("/a/b")),
            ("/docker/0123:x y…", Some("/docker/0123:x y…")),
            ("/...", Some("/...")),
            ("", None),
            ("/", None),
            ("a/b", None),
            ("system.slice:corten:id", None),
            ("/a/../b", None),
            ("/..", None),
            ("/a/./b", None),
            ("/a\n", None),
            ("/a\0b", None),
            ("/cgroup.procs", None),
        ] {
            assert_eq!(CgroupPath::parse(text).ok().as_ref().map(CgroupPath::as_str), expected, "{text:?}");
        }
        assert!(CgroupPath::parse(&format!("/{}", "n".repeat(255))).is_ok());
        assert!(CgroupPath::parse(&format!("/{}", "n".repeat(256))).is_err());
        assert!(CgroupPath::parse(&"/a".repeat(32)).is_ok());
        assert!(CgroupPath::parse(&"/a".repeat(33)).is_err());
    }

    #[test]
    fn parents_go_from_the_top() {
        let path = CgroupPath::parse("/a/b/c").unwrap();
        assert_eq!(path.parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(CgroupPath::parse("/a").unwrap().parents().count(), 0);
    }
}
