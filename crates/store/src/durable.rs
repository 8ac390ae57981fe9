//! The one primitive that replaces a file durably.
//!
//! Write a temporary file in the same directory, `fsync` it, `rename` it over the name, `fsync` the directory. Whoever reads
//! the name finds the old bytes or the new ones, whole, also after a power failure. Leaving out the directory's `fsync`
//! loses the rename, leaving out the file's leaves an empty file under the right name; both were seen.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat};

/// Replaces the file `name` in `dir` by `bytes`, with mode 0600.
///
/// # Errors
/// On any failure the old file is untouched and no temporary file remains.
pub fn replace_file(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!(".{name}.{}", std::process::id());
    let replaced = write(dir, &temporary, bytes).and_then(|()| Ok(renameat(dir, &temporary, dir, name)?));
    if let Err(error) = replaced {
        // The file may not even have been made.
        let _never_made = unlinkat(dir, &temporary, AtFlags::empty());
        return Err(error);
    }
    Ok(fsync(dir)?)
}

fn write(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(bytes)?;
    Ok(fsync(file.as_fd())?)
}
