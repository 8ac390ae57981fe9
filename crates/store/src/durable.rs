//! The one primitive that replaces a file durably.
//!
//! Write a temporary file in the same directory, `fsync` it, `rename` it over the name, `fsync` the directory. Whoever reads
//! the name finds the old bytes or the new ones, whole, also after a power failure. Leaving out the directory's `fsync`
//! loses the rename, leaving out the file's leaves an empty file under the right name; both were seen.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat};

/// Two threads that replace the same file must not write the same temporary one.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Replaces the file `name` in `dir` by `bytes`, with mode 0600.
///
/// # Errors
/// On any failure the old file is untouched and no temporary file remains.
pub fn replace_file(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = format!(".{name}.{}-{number}", std::process::id());
    let replaced = write(dir, &temporary, bytes).and_then(|()| Ok(renameat(dir, &temporary, dir, name)?));
    if let Err(error) = replaced {
        // The file may not even have been made.
        let _never_made = unlinkat(dir, &temporary, AtFlags::empty());
        return Err(error);
    }
    Ok(fsync(dir)?)
}

/// Gives a complete file its name: the same primitive for files that somebody else has written, in the same directory.
///
/// # Errors
/// On any failure the old file is untouched and the temporary one is removed.
pub(crate) fn publish(temporary: &Path, target: &Path) -> io::Result<()> {
    let named = File::open(temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(temporary, target));
    if let Err(error) = named {
        // The error says what happened.
        drop(std::fs::remove_file(temporary));
        return Err(error);
    }
    File::open(target.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn write(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(bytes)?;
    Ok(fsync(file.as_fd())?)
}

#[cfg(test)]
mod tests {
    use super::{publish, replace_file};
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = File::open(folder.path()).unwrap();
        let write = &|writer: u8| {
            for _ in 0..10 {
                replace_file(directory.as_fd(), "name", &vec![writer; 10_000]).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let _writers: Vec<_> = (0..8).map(|writer| scope.spawn(move || write(writer))).collect();
            for _ in 0..100 {
                let bytes = fs::read(folder.path().join("name")).unwrap_or_else(|_| vec![0; 10_000]);
                assert_eq!(bytes, vec![bytes[0]; 10_000]);
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("name/inner")).unwrap();
        let directory = File::open(folder.path()).unwrap();
        assert!(replace_file(directory.as_fd(), "name", b"bytes").is_err());
        fs::write(folder.path().join("temporary"), "bytes").unwrap();
        assert!(publish(&folder.path().join("temporary"), &folder.path().join("name")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
