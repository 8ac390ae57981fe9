//! A task's directory, in containerd's layout.
//!
//! ```text
//! <state>/io.containerd.runtime.v2.task/<namespace>/<id>/
//!   config.json  rootfs/  log (a fifo)  work -> <root>/…/<namespace>/<id>
//!   bootstrap.json      how its shim is reached     shim-binary-path
//!   sandbox             which one the task is in
//! <state>/io.containerd.sandbox.controller.v1.shim/<namespace>/<id>/      the same for a sandbox
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use prost_types::Any;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::shim::Address;
use super::{Config, Key};
use crate::blocking::blocking;
use crate::error::{Error, Result};

/// The directories of all bundles, below state and root: of tasks, and of sandboxes.
const TASKS: &str = "io.containerd.runtime.v2.task";
const SANDBOXES: &str = "io.containerd.sandbox.controller.v1.shim";
/// The sandbox that a task is in.
const SANDBOX: &str = "sandbox";
/// The shim's executable.
const SHIM: &str = "shim-binary-path";
/// The shim's address.
const BOOTSTRAP: &str = "bootstrap.json";
/// The same as the shim itself writes it.
const ADDRESS: &str = "address";
/// More than either of these files has.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// A bundle.
#[derive(Debug, Clone)]
pub(super) struct Bundle {
    path: PathBuf,
    work: PathBuf,
}

impl Bundle {
    /// The bundle of a container, which need not exist.
    pub(super) fn of(config: &Config, key: &Key) -> Bundle {
        Bundle::below(TASKS, config, key)
    }

    /// The bundle of a sandbox, which need not exist.
    pub(super) fn of_sandbox(config: &Config, key: &Key) -> Bundle {
        Bundle::below(SANDBOXES, config, key)
    }

    fn below(kind: &str, config: &Config, key: &Key) -> Bundle {
        let below = |directory: &Path| directory.join(kind).join(&key.namespace).join(&key.id);
        Bundle { path: below(&config.state), work: below(&config.root) }
    }

    /// Makes it.
    pub(super) async fn create(self, spec: &Any) -> Result<Bundle> {
        let bundle = self;
        let (own, spec) = (bundle.clone(), spec.value.clone());
        blocking(move || {
            // What a killed daemon left has no task, or it would have been found.
            own.clear();
            let made = own.fill(&spec);
            made.inspect_err(|_| own.clear())
        })
        .await
        .map_err(|source| Error::File {
            what: "make the bundle",
            path: bundle.path.clone(),
            source,
        })?;
        Ok(bundle)
    }

    fn fill(&self, spec: &[u8]) -> io::Result<()> {
        for path in [&self.path, &self.work] {
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
            }
            DirBuilder::new().mode(0o700).create(path)?;
        }
        DirBuilder::new().mode(0o711).create(self.path.join("rootfs"))?;
        symlink(&self.work, self.path.join("work"))?;
        mknodat(CWD, self.path.join("log"), FileType::Fifo, Mode::from_raw_mode(0o700), 0)?;
        fs::write(self.path.join("config.json"), spec)
    }

    /// When its document was written; 0 when that cannot be told.
    pub(super) fn created_ns(&self) -> i64 {
        let written = std::fs::metadata(self.path.join("config.json")).and_then(|file| file.modified());
        let since = written.ok().and_then(|moment| moment.duration_since(std::time::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or_default()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The fifo that a shim writes its messages to.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Notes how its shim is reached, for the next daemon.
    pub(super) async fn note(&self, shim: &Path, bootstrap: String) -> Result<()> {
        let (own, shim) = (self.clone(), shim.display().to_string());
        let noted = blocking(move || {
            fs::write(own.path.join(SHIM), shim)?;
            fs::write(own.path.join(BOOTSTRAP), bootstrap)
        });
        noted.await.map_err(|source| Error::File { what: "write to", path: self.path.clone(), source })
    }

    /// Notes which sandbox its task is in.
    pub(super) async fn join(&self, sandbox: &str) -> Result<()> {
        let (path, sandbox) = (self.path.join(SANDBOX), sandbox.to_owned());
        let noted = blocking(move || fs::write(path, sandbox));
        noted.await.map_err(|source| Error::File { what: "write to", path: self.path.clone(), source })
    }

    /// The sandbox that its task is in.
    pub(super) fn sandbox(&self) -> Option<String> {
        self.read(SANDBOX)
    }

    /// The executable of its shim, if one was started.
    pub(super) fn shim(&self) -> Option<PathBuf> {
        self.read(SHIM).map(PathBuf::from)
    }

    /// How its shim is reached.
    pub(super) fn bootstrap(&self) -> Option<String> {
        self.read(BOOTSTRAP)
    }

    /// Where a shim says that it is before anybody has asked it.
    pub(super) fn address(&self) -> Option<String> {
        self.read(ADDRESS)
    }

    fn read(&self, name: &str) -> Option<String> {
        use std::io::Read as _;
        let mut text = String::new();
        let file = fs::File::open(self.path.join(name)).ok()?;
        file.take(FILE_MAX_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Removes the socket of a lost shim, unless somebody serves there: shims of a group share one.
    pub(super) fn remove_socket(&self) {
        let address = self.bootstrap().and_then(|text| Address::from_json(&text).ok());
        if let Some(Address { path, .. }) = address
            && let Err(error) = UnixStream::connect(&path)
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            // Its `delete` may have done it.
            drop(fs::remove_file(path));
        }
    }

    /// Removes it with what is mounted in it.
    pub(super) async fn remove(&self) {
        let own = self.clone();
        blocking(move || own.clear()).await;
    }

    fn clear(&self) {
        let rootfs = self.path.join("rootfs");
        // A shim that died has not unmounted it; several mounts may lie on top of each other.
        while rustix::mount::unmount(
            &rootfs,
            rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW,
        )
        .is_ok()
        {}
        if fs::remove_dir(&rootfs).is_err() && rootfs.exists() {
            // Somebody's files would go with it.
            tracing::warn!(path = %rootfs.display(), "a bundle is left, because its root is not empty");
            return;
        }
        for path in [&self.path, &self.work] {
            if let Err(error) = fs::remove_dir_all(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a bundle could not be removed");
            }
        }
    }
}

/// All bundles of tasks: namespaces and ids.
pub(super) fn all(config: &Config) -> Vec<Key> {
    all_below(TASKS, config)
}

/// All bundles of sandboxes.
pub(super) fn all_sandboxes(config: &Config) -> Vec<Key> {
    all_below(SANDBOXES, config)
}

fn all_below(kind: &str, config: &Config) -> Vec<Key> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect()
    };
    let bundles = config.state.join(kind);
    let of = |namespace: String| {
        let ids = names(&bundles.join(&namespace));
        ids.into_iter().map(move |id| Key { namespace: namespace.clone(), id })
    };
    names(&bundles).into_iter().flat_map(of).collect()
}
