//! Content: immutable blobs, named by their digest, in containerd's layout (`content/blobs/<algorithm>/<hex>`).
//!
//! A blob is written as an ingest (`content/ingest/<id>/data`), hashed on the way, and becomes a blob by one rename
//! after it was synced and its digest and size were checked. A name in `blobs` therefore means: these bytes, whole.
//! Ingests of a process that died are removed when the store is opened. Ingests and the sweep of the garbage
//! collection do not meet: a blob that is not yet held by a record is held by its [`Pin`].

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use oci::digest::{Algorithm, Digest, Hasher};

use crate::error::{Error, Result};
use crate::layout::{Layout, private_dir};
use crate::tree;

/// The content store.
#[derive(Debug)]
pub struct Content {
    layout: Layout,
    ingests: PathBuf,
    next: AtomicU64,
    pins: Arc<Pins>,
}

/// A blob that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
}

/// A blob being written. Dropping it removes what was written.
#[derive(Debug)]
pub struct Ingest<'a> {
    content: &'a Content,
    directory: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
    limit: u64,
}

/// Keeps a blob from being collected until whoever stored it has made a record that holds it.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    digest: Digest,
}

#[derive(Debug, Default)]
struct Pins(Mutex<HashMap<Digest, usize>>);

impl Content {
    pub(crate) fn open(layout: &Layout) -> Result<Content> {
        let content = Content {
            layout: layout.clone(),
            ingests: layout.ingest(),
            next: AtomicU64::new(0),
            pins: Arc::default(),
        };
        let failed = |source| Error::file("clear", &content.ingests, source);
        for entry in fs::read_dir(&content.ingests).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            tree::remove(&content.ingests, &name_of(&path))
                .map_err(|source| Error::file("remove", &path, source))?;
        }
        Ok(content)
    }

    /// Begins a blob of at most `limit` bytes.
    pub fn ingest(&self, limit: u64) -> Result<Ingest<'_>> {
        let directory = self.scratch()?;
        let path = directory.join("data");
        let file = File::create_new(&path).map_err(|source| {
            // An empty directory is all there can be.
            drop(fs::remove_dir(&directory));
            Error::file("create", &path, source)
        })?;
        Ok(Ingest { content: self, directory, file, hasher: Hasher::default(), size: 0, limit })
    }

    /// A private directory below `content/ingest` that the caller removes; a leftover is removed at the next open.
    pub fn scratch(&self) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let directory = self.ingests.join(format!("{}-{number}", std::process::id()));
        private_dir(&directory)?;
        Ok(directory)
    }

    /// Stores `bytes`.
    pub fn put(&self, bytes: &[u8]) -> Result<(Blob, Pin)> {
        let mut ingest = self.ingest(bytes.len() as u64)?;
        ingest.write_all(bytes).map_err(|source| Error::file("write", &ingest.directory, source))?;
        ingest.commit(None)
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { kind: "content", name: digest.to_string() },
            _ => Error::file("open", &path, source),
        })
    }

    /// The bytes of a blob of at most `max` bytes.
    pub fn read_small(&self, digest: &Digest, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open_blob(digest)?;
        let read = file.take(max + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::file("read", &self.path(digest), source))?;
        if bytes.len() as u64 > max {
            return Err(Error::TooLarge { limit: max });
        }
        Ok(bytes)
    }

    /// Its size, if it is there.
    pub fn info(&self, digest: &Digest) -> Result<Option<Blob>> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(data) => Ok(Some(Blob { digest: digest.clone(), size: data.len() })),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("look at", &path, source)),
        }
    }

    /// Every blob.
    pub fn list(&self) -> Result<Vec<Blob>> {
        let mut blobs = Vec::new();
        for algorithm in Algorithm::ALL {
            let folder = self.layout.blobs(algorithm);
            let failed = |source| Error::file("list", &folder, source);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let digest =
                    name.to_str().and_then(|hex| Digest::parse(&format!("{}:{hex}", algorithm.name())).ok());
                if let Some(digest) = digest {
                    blobs.push(Blob { digest, size: entry.metadata().map_err(failed)?.len() });
                }
            }
        }
        Ok(blobs)
    }

    /// Reads the whole blob and compares its digest.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = Hasher::new(digest.algorithm());
        io::copy(&mut file, &mut hasher).map_err(|source| Error::file("read", &self.path(digest), source))?;
        let actual = hasher.finish();
        if &actual != digest {
            return Err(Error::WrongDigest { expected: digest.clone(), actual });
        }
        Ok(())
    }

    /// Keeps a blob, which may not exist yet, from being collected.
    pub fn pin(&self, digest: &Digest) -> Pin {
        *self.pins.0.lock().expect("no holder panics").entry(digest.clone()).or_default() += 1;
        Pin { pins: Arc::clone(&self.pins), digest: digest.clone() }
    }

    /// Deletes the candidates that are neither pinned nor held. `marks` is called when nothing can be pinned any more, and
    /// tells what is held. Only names are taken away meanwhile; deleting the bytes of a large blob takes its time.
    pub(crate) fn sweep<H: Fn(&Digest) -> bool>(
        &self,
        candidates: Vec<Blob>,
        marks: impl FnOnce() -> Result<H>,
    ) -> Result<Vec<Blob>> {
        let blobs = self.set_aside(candidates, marks)?;
        for blob in &blobs {
            let path = self.aside(&blob.digest);
            fs::remove_file(&path).map_err(|source| Error::file("remove", &path, source))?;
        }
        Ok(blobs)
    }

    fn set_aside<H: Fn(&Digest) -> bool>(
        &self,
        mut blobs: Vec<Blob>,
        marks: impl FnOnce() -> Result<H>,
    ) -> Result<Vec<Blob>> {
        let pins = self.pins.0.lock().expect("no holder panics");
        let is_held = marks()?;
        blobs.retain(|blob| !pins.contains_key(&blob.digest) && !is_held(&blob.digest));
        for blob in &blobs {
            let path = self.path(&blob.digest);
            fs::rename(&path, self.aside(&blob.digest))
                .map_err(|source| Error::file("set aside", &path, source))?;
        }
        Ok(blobs)
    }

    /// Where a collected blob waits to be deleted. What is left there by a kill goes with the other leftovers.
    fn aside(&self, digest: &Digest) -> PathBuf {
        self.ingests.join(digest.hex())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.layout.blobs(digest.algorithm()).join(digest.hex())
    }

    /// Makes a blob of `file`, which is called `path` and has those bytes: synced, then renamed. A blob that is there already
    /// stays, and is no error.
    pub(crate) fn publish(&self, file: &File, path: &Path, blob: &Blob) -> Result<Pin> {
        let pin = self.pin(&blob.digest);
        let target = self.path(&blob.digest);
        let failed = |source| Error::file("store", &target, source);
        // One of another size was damaged after it was stored; now there are good bytes for it.
        let is_there = fs::metadata(&target).is_ok_and(|data| data.len() == blob.size);
        if !is_there {
            file.set_permissions(Permissions::from_mode(0o444)).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            fs::rename(path, &target).map_err(failed)?;
        }
        // Also when it is there: whoever renamed it may not have come to this yet.
        let folder = self.layout.blobs(blob.digest.algorithm());
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(pin)
    }
}

impl Ingest<'_> {
    /// Where the bytes are, for a message.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The bytes that were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes it a blob: synced, checked, renamed. A blob that is there already stays, and is no error.
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Blob, Pin)> {
        let actual = self.hasher.clone().finish();
        if let Some(expected) = expected
            && expected != &actual
        {
            return Err(Error::WrongDigest { expected: expected.clone(), actual });
        }
        let blob = Blob { digest: actual, size: self.size };
        let pin = self.content.publish(&self.file, &self.directory.join("data"), &blob)?;
        Ok((blob, pin))
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size.saturating_add(bytes.len() as u64) > self.limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, Error::TooLarge { limit: self.limit }));
        }
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the store is opened.
        drop(fs::remove_dir_all(&self.directory));
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock().expect("no holder panics");
        if let Some(count) = pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.digest);
            }
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
