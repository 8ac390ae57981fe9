//! Deleting directory trees that were filled by strangers.
//!
//! A container can nest directories deeper than any path is long and any process may have descriptors. So nothing recurses:
//! a directory that is not empty is renamed to the top, beside the tree that it was in, and waits there for its turn. One
//! directory is open at a time (a few on a full disk), symbolic links are never followed, and a kill in between leaves only trees that wait.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Deletions may run at once in one directory: what they rename must not meet.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How often a directory is read again because something was still in it.
const MAX_PASSES: u32 = 16;

/// How deep a full disk is worked into, where renaming takes a block that is not there, until something was freed.
const MAX_DEPTH: u32 = 32;

/// Deletes `name`, a file or a directory with everything in it, from the directory `parent`. What is not there is no error.
///
/// What cannot be deleted stays, under a name that begins with `name`; the first reason is returned after all else is gone.
pub(crate) fn remove(parent: &Path, name: &str) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let top = openat(CWD, parent, flags, Mode::empty())?;
    let first = CString::new(name)?;
    let mut waiting = vec![first.clone()];
    let mut failure = None;
    while let Some(current) = waiting.pop() {
        let mut aside = |directory: BorrowedFd<'_>, name: &CStr| {
            let mut new_name = first.as_bytes().to_vec();
            new_name.extend(format!(".{}", NEXT.fetch_add(1, Ordering::Relaxed)).bytes());
            let new_name = CString::new(new_name).expect("the end of a C string and digits have no zero");
            renameat(directory, name, &top, &new_name)?;
            waiting.push(new_name);
            Ok(())
        };
        if let Err(errno) = remove_flat(top.as_fd(), &current, &mut aside, 0) {
            failure.get_or_insert(errno);
        }
    }
    failure.map_or(Ok(()), |errno| Err(errno.into()))
}

/// Moves a directory to the top.
type Aside<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>;

/// Deletes one entry of `parent`; directories in it that are not empty go `aside`.
fn remove_flat(parent: BorrowedFd<'_>, name: &CStr, aside: Aside<'_>, depth: u32) -> Result<(), Errno> {
    for _ in 0..MAX_PASSES {
        match remove_entry(parent, name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done,
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory: OwnedFd = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        let mut failure = None;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let removed = match remove_entry(directory.as_fd(), name) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => match aside(directory.as_fd(), name) {
                    Err(Errno::NOSPC | Errno::DQUOT) if depth < MAX_DEPTH => {
                        remove_flat(directory.as_fd(), name, aside, depth + 1)
                    }
                    done => done,
                },
                done => done,
            };
            if let Err(errno) = removed
                && errno != Errno::NOENT
            {
                failure.get_or_insert(errno);
            }
        }
        if let Some(errno) = failure {
            return Err(errno);
        }
    }
    Err(Errno::NOTEMPTY)
}

/// Unlinks a file or removes an empty directory.
fn remove_entry(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let removed = match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(directory, name, AtFlags::REMOVEDIR),
        done => done,
    };
    match removed {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::remove;
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::fs;

    #[test]
    fn a_tree_deeper_than_any_path_goes() {
        // What most processes may open; a recursion would need more.
        let limit = Rlimit { current: Some(1024), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("tree")).unwrap();
        let open = |directory, name: &std::path::Path| {
            openat(directory, name, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap()
        };
        let mut deepest = open(CWD, &top.path().join("tree"));
        for _ in 0..3000 {
            mkdirat(&deepest, "d", Mode::from_raw_mode(0o755)).unwrap();
            let file = OFlags::CREATE | OFlags::WRONLY;
            openat(&deepest, "f", file, Mode::from_raw_mode(0o600)).unwrap();
            deepest = openat(&deepest, "d", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        }
        drop(deepest);
        remove(top.path(), "tree").unwrap();
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("tree/inner")).unwrap();
        fs::create_dir(top.path().join("other")).unwrap();
        fs::write(top.path().join("other/file"), "stays").unwrap();
        std::os::unix::fs::symlink("../../other", top.path().join("tree/inner/link")).unwrap();
        std::os::unix::fs::symlink("other", top.path().join("link")).unwrap();
        remove(top.path(), "tree").unwrap();
        remove(top.path(), "link").unwrap();
        remove(top.path(), "nothing").unwrap();
        assert_eq!(fs::read_to_string(top.path().join("other/file")).unwrap(), "stays");
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
    }
}
