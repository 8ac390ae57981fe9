//! Files of this machine as an archive, and an archive's files on this machine: what `cp` does at its end of the line.
//!
//! The archive comes from a container, so it is hostile: as in the worker, every name is resolved below the directory
//! that it goes to, component by component, and no link leads out of it.

use std::ffi::OsStr;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::apply::{self, Placement};
use crate::pack::{PackError, Packer, as_it_is};
use crate::tar::{Reader, TarError};

const BUFFER_SIZE: usize = 256 << 10;

/// Why files were not packed or placed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LocalError(#[from] Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}")]
    Kind(apply::EntryProblem),
    #[error("the archive ends before its end")]
    NoEnd,
    #[error("open {}", path.display())]
    Open {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Place(apply::ApplyError),
    #[error("the archive is not valid")]
    Tar(#[source] TarError),
}

/// How an archive's files are placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalOptions {
    /// What the archive's names begin with, and what they are to begin with.
    pub rename: Option<(String, String)>,
    /// Keep the owners that the archive names; else they are the caller's. Takes root.
    pub keeps_owners: bool,
}

/// Writes what is at `path`, with all that is in it if it is a directory, as `name`. A link at its end is followed if
/// a slash is behind it.
pub fn pack(path: &Path, name: &str, output: impl Write) -> Result<(), LocalError> {
    let mut translate = as_it_is;
    let mut packer = Packer::new(output, &mut translate);
    let bytes = path.as_os_str().as_bytes();
    let is_entered = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let is_directory = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    if is_entered || is_directory {
        let prefix = if name.ends_with('/') { name.to_owned() } else { format!("{name}/") };
        packer.tree(open(path)?, prefix.as_bytes()).map_err(Reason::Pack)?;
    } else {
        let parent =
            open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        let own = path.file_name().unwrap_or(OsStr::new(".")).as_bytes();
        packer.child(parent.as_fd(), own, &mut name.as_bytes().to_vec()).map_err(Reason::Pack)?;
    }
    packer.finish().map_err(Reason::Pack)?;
    Ok(())
}

/// Puts an archive's files into a directory. A directory replaces nothing but a directory, and nothing else replaces one.
pub fn place(input: impl Read, directory: &Path, options: LocalOptions) -> Result<(), LocalError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let placement = Placement {
        keeps_kinds: true,
        owner: (!options.keeps_owners).then_some((uid.as_raw(), gid.as_raw())),
        rename: options.rename.map(|(from, to)| (from.into_bytes(), to.into_bytes())),
        is_unprivileged: !uid.is_root(),
        prefix: Vec::new(),
    };
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_SIZE, input));
    // Modes are as the archive says, whatever is masked here.
    rustix::process::umask(Mode::empty());
    apply::place(&mut reader, open(directory)?, placement).map_err(|error| match error {
        apply::ApplyError::Entry {
            problem:
                problem @ (apply::EntryProblem::KeepsDirectory(..) | apply::EntryProblem::KeepsNonDirectory(..)),
            ..
        } => Reason::Kind(problem),
        apply::ApplyError::Tar(error) => Reason::Tar(error),
        error => Reason::Place(error),
    })?;
    if reader.has_end_mark() { Ok(()) } else { Err(Reason::NoEnd.into()) }
}

fn open(path: &Path) -> Result<OwnedFd, Reason> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Reason::Open { path: path.to_owned(), source: errno.into() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_packed_can_be_placed_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("from/deep")).unwrap();
        fs::write(at("from/deep/file"), "text").unwrap();
        fs::hard_link(at("from/deep/file"), at("from/again")).unwrap();
        fs::create_dir(at("to")).unwrap();
        let mut archive = Vec::new();
        pack(&at("from"), "from", &mut archive).unwrap();
        let rename = Some(("from".to_owned(), "new".to_owned()));
        place(&archive[..], &at("to"), LocalOptions { rename, ..LocalOptions::default() }).unwrap();
        assert_eq!(fs::read_to_string(at("to/new/deep/file")).unwrap(), "text");
        assert_eq!(fs::read_to_string(at("to/new/again")).unwrap(), "text");
        let cut = &archive[..archive.len() - 1024];
        assert!(place(cut, &at("to"), LocalOptions::default()).is_err(), "an archive without an end");
    }

    #[test]
    fn a_link_that_is_there_already_does_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["from", "to", "out"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("from/file"), "x").unwrap();
        symlink(at("out"), at("to/dir")).unwrap();
        let mut archive = Vec::new();
        pack(&at("from/file"), "dir/file", &mut archive).unwrap();
        place(&archive[..], &at("to"), LocalOptions::default()).unwrap();
        assert_eq!(fs::read_dir(at("out")).unwrap().count(), 0);
    }
}
