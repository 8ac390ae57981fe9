//! The writer of an ingest.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use oci::digest::{Algorithm, Digest, Hasher};

use super::uploads::{DATA, Lock, written_ns};
use super::{Ingest, Status};
use crate::clock::now_ns;
use crate::content::Blob;
use crate::error::{Error, Result};
use crate::layout::private_dir;

/// Read at once when what is there is hashed or copied.
const BUFFER_BYTES: usize = 1 << 20;

/// Where a shared blob is copied to until it is whole.
const COPY: &str = "copy";

/// Writes an ingest. Nobody else does meanwhile; dropping it lets others, and keeps what was written.
#[derive(Debug)]
pub struct Writer {
    row: Ingest,
    folder: PathBuf,
    state: State,
    updated_ns: i64,
    is_ended: bool,
    _lock: Lock,
}

#[derive(Debug)]
enum State {
    /// Bytes that were written.
    Own(Box<Written>),
    /// Another namespace has the blob: nothing needs to be written.
    Shared { blob: Blob, file: File },
}

#[derive(Debug)]
struct Written {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Writer {
    /// Goes on with what is in `folder`.
    pub(super) fn own(lock: Lock, folder: PathBuf, row: Ingest, algorithm: Algorithm) -> Result<Writer> {
        let written = Written::open(&folder, algorithm)?;
        let path = folder.join(DATA);
        let data = written.file.metadata().map_err(|source| Error::file("look at", &path, source))?;
        let updated_ns = row.updated_ns.max(written_ns(&data));
        Ok(Writer {
            row,
            folder,
            state: State::Own(Box::new(written)),
            updated_ns,
            is_ended: false,
            _lock: lock,
        })
    }

    /// Has all of `blob`.
    pub(super) fn shared(lock: Lock, folder: PathBuf, row: Ingest, blob: Blob, file: File) -> Writer {
        let updated_ns = row.updated_ns;
        let row = Ingest { total: blob.size, ..row };
        Writer { row, folder, state: State::Shared { blob, file }, updated_ns, is_ended: false, _lock: lock }
    }

    /// How far it has come.
    pub fn status(&self) -> Status {
        Status {
            reference: self.row.reference.clone(),
            offset: match &self.state {
                State::Own(written) => written.size,
                State::Shared { blob, .. } => blob.size,
            },
            total: self.row.total,
            started_ns: self.row.started_ns,
            updated_ns: self.updated_ns,
        }
    }

    /// The digest of what is there.
    pub fn digest(&self) -> Digest {
        match &self.state {
            State::Own(written) => written.hasher.clone().finish(),
            State::Shared { blob, .. } => blob.digest.clone(),
        }
    }

    /// Appends `bytes`. What cannot be written whole is not written at all.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let State::Shared { blob, file } = &self.state {
            self.state = State::Own(Box::new(self.copy(blob, file)?));
        }
        let path = self.data();
        if let State::Own(written) = &mut self.state {
            written.append(bytes).map_err(|source| Error::file("write", &path, source))?;
        }
        self.updated_ns = now_ns();
        Ok(())
    }

    /// Throws away what was written.
    pub fn restart(&mut self) -> Result<()> {
        let algorithm = match &self.state {
            State::Own(written) => written.hasher.algorithm(),
            State::Shared { blob, .. } => blob.digest.algorithm(),
        };
        let path = self.data();
        let mut written = Written::open(&self.folder, algorithm)?;
        written.file.set_len(0).map_err(|source| Error::file("empty", &path, source))?;
        (written.size, written.hasher) = (0, Hasher::new(algorithm));
        self.state = State::Own(Box::new(written));
        Ok(())
    }

    pub(super) fn total(&self) -> u64 {
        self.row.total
    }

    pub(super) fn set_total(&mut self, total: u64) {
        self.row.total = total;
    }

    pub(super) fn reference(&self) -> &str {
        &self.row.reference
    }

    pub(super) fn upload(&self) -> &str {
        &self.row.upload
    }

    /// Where the bytes are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// The file that becomes the blob, unless somebody has the blob.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.state {
            State::Own(written) => Some(&written.file),
            State::Shared { .. } => None,
        }
    }

    /// The blob that it becomes, if it is the expected one.
    pub(super) fn check(&mut self, size: u64, expected: Option<&Digest>) -> Result<Blob> {
        let actual = self.status().offset;
        if size != 0 && size != actual {
            let reference = self.row.reference.clone();
            return Err(Error::CommitSize { reference, actual, expected: size });
        }
        if let (State::Own(written), Some(expected)) = (&mut self.state, expected) {
            let algorithm = expected.algorithm();
            if written.hasher.algorithm() != algorithm {
                let path = self.folder.join(DATA);
                written.hasher = Hasher::new(algorithm);
                written.hash().map_err(|source| Error::file("read", &path, source))?;
            }
        }
        let digest = self.digest();
        match expected {
            Some(expected) if *expected != digest => Err(Error::CommitDigest {
                reference: self.row.reference.clone(),
                actual: digest,
                expected: expected.clone(),
            }),
            _ => Ok(Blob { digest, size: actual }),
        }
    }

    /// What was written is gone, or is a blob now.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
    }

    /// Bytes of its own, which are those of `blob`.
    fn copy(&self, blob: &Blob, file: &File) -> Result<Written> {
        private_dir(&self.folder)?;
        let copy = self.folder.join(COPY);
        let copied = copy_of(file, &copy).and_then(|()| fs::rename(&copy, self.folder.join(DATA)));
        copied.map_err(|source| Error::file("copy a blob to", &copy, source))?;
        Written::open(&self.folder, blob.digest.algorithm())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let State::Own(written) = &self.state
            && !self.is_ended
        {
            // The kernel's clock of files is some milliseconds behind; clients compare.
            let nanoseconds = u64::try_from(self.updated_ns).unwrap_or_default();
            drop(written.file.set_modified(UNIX_EPOCH + Duration::from_nanos(nanoseconds)));
            // A client goes on after a power failure, too; when that fails, with less.
            drop(written.file.sync_data());
        }
    }
}

impl Written {
    fn open(folder: &Path, algorithm: Algorithm) -> Result<Written> {
        private_dir(folder)?;
        let path = folder.join(DATA);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = options.open(&path).map_err(|source| Error::file("open", &path, source))?;
        let mut written = Written { file, hasher: Hasher::new(algorithm), size: 0 };
        written.hash().map_err(|source| Error::file("read", &path, source))?;
        Ok(written)
    }

    /// Reads all that is there.
    fn hash(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        self.size = 0;
        loop {
            match self.file.read_at(&mut buffer, self.size)? {
                0 => return Ok(()),
                length => {
                    self.hasher.update(&buffer[..length]);
                    self.size += length as u64;
                }
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.size) {
            // On a full disk a part may have been written. What stays is hashed when the ingest is opened again.
            drop(self.file.set_len(self.size));
            return Err(error);
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

fn copy_of(mut from: &File, path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut to = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
    io::Seek::rewind(&mut from)?;
    // The standard library uses copy_file_range(2) where that is possible.
    io::copy(&mut from, &mut to).map(drop)
}
