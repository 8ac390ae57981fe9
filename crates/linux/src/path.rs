//! Paths inside a tree that somebody else controls: openat2(2) with `RESOLVE_IN_ROOT`.
//!
//! Every symbolic link, absolute ones included, is resolved as if `root` were `/`; magic links of proc(5) are refused.
//! The result is a descriptor, so what was checked is what is used.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::syscall::Result;

/// Longest path that the kernel takes, with its final NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// openat2(2) asks to be repeated when the tree was renamed under its feet; an attacker may do that for ever.
const MAX_RENAME_RACES: u32 = 128;

/// Opens `path` below `root`.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    open_with_mode(root, path, flags, Mode::empty())
}

/// Opens for use what was opened with `O_PATH` and looked at: the same file, whatever its name leads to by now.
pub fn reopen(found: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty())
}

/// The path by which another process of the same owner opens a descriptor of ours, as long as we hold it.
pub fn of_descriptor(descriptor: BorrowedFd<'_>) -> std::path::PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd()).into()
}

fn open_with_mode(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MAX_RENAME_RACES {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Makes a directory and all its parents below `root` and opens it (`O_PATH`). What exists is left as it is.
pub fn mkdir_all_in_root(root: BorrowedFd<'_>, path: &CStr, mode: Mode) -> Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    match open_in_root(root, path, directory) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut prefix = PathBuffer::default();
    let mut current = open_in_root(root, c".", directory)?;
    for name in path.to_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        // `..` cannot be made, and whether it can be followed depends on links that may not exist yet.
        if name == b".." {
            return Err(Errno::INVAL);
        }
        // From the root each time: a link in an existing prefix must resolve against `root`, not against itself.
        prefix.push(name)?;
        current = match open_in_root(root, prefix.as_c_str()?, directory) {
            Err(Errno::NOENT) => {
                let name = PathBuffer::of(name)?;
                match rustix::fs::mkdirat(&current, name.as_c_str()?, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                // A dangling symbolic link also says `EXIST`; opening it below says `NOENT`, which is the truth.
                open_in_root(root, prefix.as_c_str()?, directory)?
            }
            other => other?,
        };
    }
    Ok(current)
}

/// Opens (`O_PATH`) a file below `root`, making it, empty, and its parents when there is none.
pub fn create_file_in_root(root: BorrowedFd<'_>, path: &CStr, mode: Mode) -> Result<OwnedFd> {
    match open_in_root(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let (parent, name) = split_last(path.to_bytes());
    let parent = mkdir_all_in_root(root, PathBuffer::of(parent)?.as_c_str()?, Mode::from_raw_mode(0o755))?;
    let name = PathBuffer::of(name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&parent, name.as_c_str()?, flags, mode) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::openat(
        &parent,
        name.as_c_str()?,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Directory and last name of a path. `/` and the empty path have no last name.
pub(crate) fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    let trimmed = path.iter().rposition(|&byte| byte != b'/').map_or(&path[..0], |last| &path[..=last]);
    match trimmed.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&trimmed[..slash], &trimmed[slash + 1..]),
        None => (&trimmed[..0], trimmed),
    }
}

/// A path on the stack: a freshly cloned process must not allocate. An empty one reads `.`.
pub(crate) struct PathBuffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Default for PathBuffer {
    fn default() -> PathBuffer {
        PathBuffer { bytes: [0; PATH_MAX], length: 0 }
    }
}

impl PathBuffer {
    pub(crate) fn of(path: &[u8]) -> Result<PathBuffer> {
        let mut buffer = PathBuffer::default();
        buffer.append(path)?;
        Ok(buffer)
    }

    /// Adds one component.
    pub(crate) fn push(&mut self, name: &[u8]) -> Result<()> {
        if self.length > 0 {
            self.append(b"/")?;
        }
        self.append(name)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.length + bytes.len();
        // One byte stays zero behind the path.
        let room =
            self.bytes.get_mut(self.length..end).filter(|_| end < PATH_MAX).ok_or(Errno::NAMETOOLONG)?;
        room.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    pub(crate) fn as_c_str(&self) -> Result<&CStr> {
        if self.length == 0 {
            return Ok(c".");
        }
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::NAMETOOLONG)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::Builder::new().prefix("corten-test-linux-").tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
        (directory, root)
    }

    const DIRECTORY: Mode = Mode::RWXU;

    #[test]
    fn links_resolve_inside_the_root() {
        let (directory, root) = tree();
        let inside = |path: &str| directory.path().join(path);
        fs::create_dir(inside("etc")).unwrap();
        fs::write(inside("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", inside("absolute")).unwrap();
        symlink("../../../../etc/passwd", inside("relative")).unwrap();
        for path in [c"absolute", c"relative", c"/absolute", c"etc/../../../etc/passwd"] {
            let found = open_in_root(root.as_fd(), path, OFlags::PATH).unwrap();
            let expected = fs::metadata(inside("etc/passwd")).unwrap().ino();
            assert_eq!(rustix::fs::fstat(&found).unwrap().st_ino, expected, "{path:?}");
        }
        symlink(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root)), inside("magic"))
            .unwrap();
        assert_eq!(open_in_root(root.as_fd(), c"magic", OFlags::PATH).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn magic_links_are_refused() {
        let host = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let error = open_in_root(host.as_fd(), c"/proc/self/exe", OFlags::PATH).unwrap_err();
        assert_eq!(error, Errno::LOOP);
    }

    #[test]
    fn directories_and_files_are_made_only_inside() {
        let (directory, root) = tree();
        let (outside, _) = tree();
        symlink(outside.path(), directory.path().join("out")).unwrap();
        symlink("/real", directory.path().join("link")).unwrap();
        fs::create_dir(directory.path().join("real")).unwrap();
        mkdir_all_in_root(root.as_fd(), c"/a//b/./c/", DIRECTORY).unwrap();
        mkdir_all_in_root(root.as_fd(), c"a/b/c", DIRECTORY).unwrap();
        mkdir_all_in_root(root.as_fd(), c"link/below", DIRECTORY).unwrap();
        create_file_in_root(root.as_fd(), c"/x/y/file", Mode::RUSR).unwrap();
        create_file_in_root(root.as_fd(), c"link/file", Mode::RUSR).unwrap();
        for path in ["a/b/c", "real/below", "x/y/file", "real/file"] {
            assert!(directory.path().join(path).exists(), "{path}");
        }
        // The link's target does not exist in the root, and through the link nothing is made.
        assert_eq!(mkdir_all_in_root(root.as_fd(), c"out/x", DIRECTORY).unwrap_err(), Errno::NOENT);
        assert_eq!(mkdir_all_in_root(root.as_fd(), c"new/../x", DIRECTORY).unwrap_err(), Errno::INVAL);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn paths_are_split_at_the_last_name() {
        for (path, expected) in [
            ("/a/b", ("/a", "b")),
            ("a", ("", "a")),
            ("/a/", ("", "a")),
            ("a//b//", ("a/", "b")),
            ("/", ("", "")),
            ("", ("", "")),
        ] {
            let (directory, name) = split_last(path.as_bytes());
            assert_eq!((directory, name), (expected.0.as_bytes(), expected.1.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_that_are_too_long_are_refused() {
        assert!(PathBuffer::of(&[b'a'; PATH_MAX - 1]).is_ok());
        assert_eq!(PathBuffer::of(&[b'a'; PATH_MAX]).err(), Some(Errno::NAMETOOLONG));
    }
}
