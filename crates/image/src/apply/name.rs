//! Names of entries: which path they mean, and whether they are whiteouts.

use super::{EntryProblem, EntryResult};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Names of aufs's own files; of them only the opaque mark has a meaning for others.
const FOREIGN_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A path within the root, as its components: no empty ones, no `.`, no `..`.
pub(super) struct Name<'a>(Vec<&'a [u8]>);

/// What an entry's name makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role<'n, 'a> {
    /// Its parents and its own name.
    Entry(&'n [&'a [u8]], &'a [u8]),
    /// A file of aufs, which is nobody's content.
    Foreign,
    /// Hides everything that lower layers have in a directory.
    Opaque(&'n [&'a [u8]]),
    Root,
    /// Hides one name of lower layers.
    Whiteout(&'n [&'a [u8]], &'a [u8]),
}

impl<'a> Name<'a> {
    /// An absolute path means the same below the root. `..` is refused even where it would stay inside: what it
    /// means depends on links, and no builder writes it.
    pub(super) fn parse(path: &'a [u8]) -> EntryResult<Name<'a>> {
        if path.is_empty() {
            return Err(EntryProblem::EmptyName);
        }
        let components: Vec<&[u8]> =
            path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if components.contains(&&b".."[..]) {
            return Err(EntryProblem::LeavesRoot);
        }
        Ok(Name(components))
    }

    pub(super) fn components(&self) -> &[&'a [u8]] {
        &self.0
    }

    pub(super) fn role(&self) -> EntryResult<Role<'_, 'a>> {
        let Some((&last, parents)) = self.0.split_last() else { return Ok(Role::Root) };
        let is_foreign = |part: &&[u8]| part.starts_with(FOREIGN_PREFIX);
        if parents.iter().any(is_foreign) || (is_foreign(&last) && last != OPAQUE) {
            return Ok(Role::Foreign);
        }
        // A whiteout is not a directory: what would it mean to hide something and to have something in it?
        if parents.iter().any(|part| part.starts_with(WHITEOUT_PREFIX)) {
            return Err(EntryProblem::Whiteout);
        }
        if last == OPAQUE {
            return Ok(Role::Opaque(parents));
        }
        match last.strip_prefix(WHITEOUT_PREFIX) {
            None => Ok(Role::Entry(parents, last)),
            Some(b"" | b"." | b"..") => Err(EntryProblem::Whiteout),
            Some(hidden) => Ok(Role::Whiteout(parents, hidden)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_role() {
        let a: &[&[u8]] = &[b"a"];
        let cases: [(&str, Role<'_, '_>); 12] = [
            ("./", Role::Root),
            ("/", Role::Root),
            ("a", Role::Entry(&[], b"a")),
            ("/a", Role::Entry(&[], b"a")),
            (".//a/./b/", Role::Entry(a, b"b")),
            ("a/...", Role::Entry(a, b"...")),
            ("a/.whx", Role::Entry(a, b".whx")),
            ("a/.wh.b", Role::Whiteout(a, b"b")),
            ("a/.wh....", Role::Whiteout(a, b"...")),
            ("a/.wh..wh..opq", Role::Opaque(a)),
            (".wh..wh.plnk/x", Role::Foreign),
            (".wh..wh.aufs", Role::Foreign),
        ];
        for (path, expected) in cases {
            assert_eq!(Name::parse(path.as_bytes()).unwrap().role().unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn names_without_a_meaning_are_refused() {
        for path in ["", "..", "../a", "a/..", "a/../../b", "/..", "./../a"] {
            assert!(Name::parse(path.as_bytes()).is_err(), "{path}");
        }
        for path in [".wh.", ".wh..", ".wh...", ".wh./etc", "a/.wh.b/c", ".wh..wh..opq/a/.wh."] {
            let name = Name::parse(path.as_bytes()).unwrap();
            assert!(matches!(name.role(), Err(_) | Ok(Role::Foreign)), "{path}");
        }
    }
}
