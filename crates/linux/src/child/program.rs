//! The program: where it starts, which file it is, executing it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::marker::PhantomData;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::Child;
use crate::syscall::{self, Result};

/// Longest working directory that is checked (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// What to execute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// Paths to try, in order; more than one for a search through `PATH`.
    pub candidates: Vec<CString>,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
}

impl Program {
    /// The null-terminated arrays of execve(2), made before the clone.
    pub(crate) fn pointers(&self) -> Pointers<'_> {
        let array = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
        };
        Pointers {
            candidates: &self.candidates,
            arguments: array(&self.arguments),
            environment: array(&self.environment),
            borrows: PhantomData,
        }
    }
}

/// A [`Program`] in the form that the kernel takes.
pub(crate) struct Pointers<'a> {
    candidates: &'a [CString],
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    borrows: PhantomData<&'a Program>,
}

impl Child<'_> {
    /// Root may be kept out (a network file system), or the user (a private home): root tries first, as runc does.
    pub(super) fn directory(&mut self, path: &CStr) -> Result<()> {
        match enter(path) {
            Err(Errno::ACCESS | Errno::PERM) => {
                self.needs_directory = true;
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn retry_directory(&mut self, path: &CStr) -> Result<()> {
        if self.needs_directory { enter(path) } else { Ok(()) }
    }

    /// In a search, what cannot be executed is passed over, and the search ends with `NOENT`; a single candidate's
    /// own error is told.
    pub(super) fn find_program(&mut self) -> Result<()> {
        let mut outcome = Err(Errno::NOENT);
        for (number, candidate) in self.program.candidates.iter().enumerate() {
            outcome = is_executable(candidate);
            if outcome.is_ok() {
                self.found = Some(number);
                return Ok(());
            }
        }
        if self.program.candidates.len() == 1 { outcome } else { Err(Errno::NOENT) }
    }

    pub(super) fn execute(&self) -> Result<()> {
        let candidate =
            self.found.and_then(|found| self.program.candidates.get(found)).ok_or(Errno::NOENT)?;
        let (arguments, environment) = (self.program.arguments.as_ptr(), self.program.environment.as_ptr());
        // SAFETY: a valid path and two null-terminated arrays of pointers to C strings that outlive this process.
        unsafe { libc::execve(candidate.as_ptr(), arguments, environment) };
        syscall::check(-1).map(drop)
    }
}

/// Changes directory, and makes sure that the result is in the container: a directory that was reached through a
/// descriptor of the host would have no path here, and getcwd(2) would say `(unreachable)`.
fn enter(path: &CStr) -> Result<()> {
    rustix::process::chdir(path)?;
    let mut buffer = [0u8; PATH_MAX];
    // SAFETY: the buffer is writable for the length given.
    let returned = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    syscall::check(returned)?;
    if buffer.first() == Some(&b'/') { Ok(()) } else { Err(Errno::XDEV) }
}

fn is_executable(path: &CStr) -> Result<()> {
    let metadata = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    match FileType::from_raw_mode(metadata.st_mode) {
        FileType::RegularFile => rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ACCESS),
    }
}
