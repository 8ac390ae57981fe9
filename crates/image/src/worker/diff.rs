//! Packing a container's own layer: an overlay's upper directory, with the specification's marks where the overlay has its own.
//!
//! | in the directory | in the layer (`layer.md` of the image specification) |
//! |---|---|
//! | a character device 0:0 | `.wh.` and the name: what is below it is gone |
//! | a directory with `trusted.overlay.opaque` = `y` | the directory, and `.wh..wh..opq` in it |
//! | a directory that was renamed with `redirect_dir`, a file with `metacopy` | refused: its content is elsewhere |
//! | an empty file or directory where something is mounted in every container, and `/etc` if it is there for them | nothing |

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{BorrowedFd, OwnedFd};

use api::code::Code;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;

use super::merged::{OPAQUE, attribute, refuse_elsewhere};
use super::protocol::{Outcome, Packing, Refusal, errno_code};
use crate::apply::Target;
use crate::pack::{Form, Found, PackError, Packer};
use crate::tar::{Entry, Kind, Time};

const BUFFER_SIZE: usize = 256 << 10;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// What a container's start makes to mount upon, where the image has nothing.
const MOUNT_POINTS: [&[u8]; 8] =
    [b"dev/", b"dev/pts/", b"dev/shm/", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf", b"proc/", b"sys/"];

/// Some of them are in it, and it is copied up for them.
const ETC: &[u8] = b"etc/";

/// Why a layer was not packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiffError {
    #[error("the layer's directory cannot be opened")]
    Open(#[source] Errno),
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl From<DiffError> for Refusal {
    fn from(error: DiffError) -> Refusal {
        match error {
            DiffError::Open(errno) => Refusal::new(errno_code(errno), &error),
            // The container's own doing.
            DiffError::Pack(PackError::File { source: Errno::XDEV, .. }) => {
                Refusal::new(Code::FailedPrecondition, &error)
            }
            DiffError::Pack(error) => error.into(),
        }
    }
}

/// Writes the layer in `upper` to `output`, without compression.
pub(super) fn diff(output: OwnedFd, target: &Target, packing: Packing) -> Result<Outcome, Refusal> {
    Ok(pack(output, target, packing)?)
}

fn pack(output: OwnedFd, target: &Target, packing: Packing) -> Result<Outcome, DiffError> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&target.upper, ".", flags, Mode::empty()).map_err(DiffError::Open)?;
    let mut translate = |mut entry: Entry, found: &Found<'_>| {
        clamp(&mut entry, packing);
        translated(entry, found, &target.lowers, packing)
    };
    let mut packer = Packer::new(BufWriter::with_capacity(BUFFER_SIZE, File::from(output)), &mut translate);
    packer.tree(directory, b"")?;
    let packed = packer.finish()?;
    Ok(Outcome { entries: packed.entries, size_bytes: packed.size_bytes, ..Outcome::default() })
}

fn translated(
    entry: Entry,
    found: &Found<'_>,
    lowers: &[OwnedFd],
    packing: Packing,
) -> rustix::io::Result<Form> {
    refuse_mark(&entry)?;
    if entry.kind == Kind::CharDevice && entry.device == (0, 0) {
        return Ok(Form::Entry(whiteout(&entry.path, entry.mtime)));
    }
    let Some(file) = found.file else { return Ok(Form::Entry(entry)) };
    refuse_elsewhere(file)?;
    if !packing.is_whole && MOUNT_POINTS.contains(&&entry.path[..]) && is_empty(&entry, file)? {
        return Ok(Form::Nothing);
    }
    if !packing.is_whole && entry.path == ETC && holds_mount_points(file)? && is_as_below(&entry, lowers)? {
        return Ok(Form::Nothing);
    }
    if entry.kind == Kind::Directory && attribute(file, OPAQUE)?.as_deref() == Some(b"y") {
        let mark = mark([&entry.path[..], OPAQUE_MARK].concat(), entry.mtime);
        return Ok(Form::Marked(entry, mark));
    }
    Ok(Form::Entry(entry))
}

/// The last part of a path.
fn name_of(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Nothing is younger than a client says.
pub(super) fn clamp(entry: &mut Entry, packing: Packing) {
    if let Some(epoch_s) = packing.epoch_s.filter(|epoch_s| entry.mtime.seconds >= *epoch_s) {
        entry.mtime = Time { seconds: epoch_s, nanoseconds: 0 };
    }
}

/// A file that is called like a mark would delete something instead of being there.
pub(super) fn refuse_mark(entry: &Entry) -> rustix::io::Result<()> {
    if name_of(&entry.path).starts_with(WHITEOUT) { Err(Errno::INVAL) } else { Ok(()) }
}

/// Says that there is nothing any more at a path.
pub(super) fn whiteout(path: &[u8], mtime: Time) -> Entry {
    let name = name_of(path);
    let directory = &path[..path.len() - name.len()];
    mark([directory, WHITEOUT, name].concat(), mtime)
}

/// An empty file that says something by its name.
fn mark(path: Vec<u8>, mtime: Time) -> Entry {
    Entry { mode: 0, mtime, ..Entry::new(Kind::File, path) }
}

fn is_empty(entry: &Entry, file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    if entry.kind != Kind::Directory {
        return Ok(entry.size == 0);
    }
    for entry in rustix::fs::Dir::read_from(file)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        // What is mounted in /dev is made there, too.
        if !matches!(name, b"." | b".." | b"pts" | b"shm" | b"mqueue" | b"console") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether there is nothing but what is mounted upon.
fn holds_mount_points(etc: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(etc)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_empty_file = || {
            let stat = statat(etc, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(stat.st_size == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        };
        let is_mount_point = match name.to_bytes() {
            b"." | b".." => true,
            b"hostname" | b"hosts" | b"resolv.conf" => is_empty_file()?,
            _ => false,
        };
        if !is_mount_point {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the image has the same directory, or none.
fn is_as_below(entry: &Entry, lowers: &[OwnedFd]) -> rustix::io::Result<bool> {
    for lower in lowers {
        match statat(lower, &entry.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let mode = stat.st_mode & 0o7777;
                return Ok((mode, stat.st_uid, stat.st_gid) == (entry.mode, entry.uid, entry.gid));
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}
