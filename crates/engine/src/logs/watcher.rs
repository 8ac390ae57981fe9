//! Who is told when a log grows: one inotify instance for all followers, because a user may have but 128.
//!
//! A watch is on the container's directory: it reports writes to the current file and the rotation alike.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::error::{Error, Result};

/// Room for some hundred events per read.
const BUFFER_BYTES: usize = 8192;

/// The watched directories.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    inotify: AsyncFd<OwnedFd>,
    /// By watch descriptor.
    directories: Mutex<HashMap<i32, watch::Sender<()>>>,
}

/// Tells that something changed in a directory; when it is dropped, and it was the last, the watch ends.
#[derive(Debug)]
pub(crate) struct Changes {
    descriptor: i32,
    receiver: watch::Receiver<()>,
    inner: Arc<Inner>,
}

impl Watcher {
    /// Needs the runtime that it shall run on.
    pub(crate) fn new() -> Result<Watcher> {
        let failed = |source: io::Error| Error::System { what: "watch logs", source };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        #[expect(deprecated, reason = "its safe twin; an owned descriptor keeps what the unsafe one asks")]
        let inotify = AsyncFd::new(inotify).map_err(failed)?;
        let inner = Arc::new(Inner { inotify, directories: Mutex::default() });
        tokio::spawn(deliver(Arc::downgrade(&inner)));
        Ok(Watcher { inner })
    }

    /// Begins to watch; what happens from now on is told.
    pub(crate) fn watch(&self, directory: &Path) -> Result<Changes> {
        let mut directories = self.inner.lock();
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let descriptor =
            inotify::add_watch(self.inner.inotify.get_ref(), directory, flags).map_err(|errno| {
                Error::File { what: "watch the log in", path: directory.to_owned(), source: errno.into() }
            })?;
        let receiver = directories.entry(descriptor).or_insert_with(|| watch::channel(()).0).subscribe();
        Ok(Changes { descriptor, receiver, inner: self.inner.clone() })
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, watch::Sender<()>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the followers of what one read brings.
    fn drain(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            let event = reader.next()?;
            let directories = self.lock();
            if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                directories.values().for_each(|directory| directory.send_replace(()));
            } else if let Some(directory) = directories.get(&event.wd()) {
                directory.send_replace(());
            }
        }
    }
}

impl Changes {
    /// What happened so far is known.
    pub(crate) fn seen(&mut self) {
        self.receiver.mark_unchanged();
    }

    /// Waits for the next change.
    pub(crate) async fn wait(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let mut directories = self.inner.lock();
        // Ours is still counted.
        if directories.get(&self.descriptor).is_some_and(|sender| sender.receiver_count() <= 1) {
            directories.remove(&self.descriptor);
            // The directory may be gone, and its watch with it.
            let _ = inotify::remove_watch(self.inner.inotify.get_ref(), self.descriptor);
        }
    }
}

/// Runs while the watcher lives.
async fn deliver(inner: std::sync::Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        let Ok(mut ready) = inner.inotify.readable().await else { return };
        match inner.drain() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "logs are not followed any more");
                return;
            }
            Ok(()) => {}
        }
    }
}
