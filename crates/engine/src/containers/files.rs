//! A container's files: looked at, read as an archive, written from one, exported, compared with its image's.
//!
//! A confined worker sees the container's file system and does it (`image::files`). Of a running container it sees what the
//! container sees: its layers, volumes, directories and memory file systems. Of one at rest the layers are mounted for as
//! long as it takes, with the volumes and directories in them; its turn is held meanwhile, so that it neither starts nor
//! goes. All mounts are the worker's own and end with it.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use image::files::{Access, Mounted, PlaceOptions, Root, View};
use image::{WorkerCommand, WorkerError};
use rustix::fs::{CWD, Mode, OFlags};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use image::files::FileStat;

use super::Containers;
use super::merge::clean_path;
use super::record::Record;
use super::spec::MountSpec;
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Workers at once. Each is a process and one of the threads that may block; a client that does not read keeps both.
pub(crate) const COPIES_MAX: usize = 64;

/// How files are put into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtractOptions {
    /// A directory is not replaced by anything else, nor anything else by a directory.
    pub no_overwrite: bool,
    /// The files are to be the container's user's.
    pub own_by_user: bool,
}

/// An archive in the making.
#[derive(Debug)]
pub struct Archive {
    /// A pipe, which ends when the archive does or breaks off.
    pub output: OwnedFd,
    pub end: ArchiveEnd,
}

/// What is known at the end of an archive's pipe.
#[derive(Debug)]
pub struct ArchiveEnd(JoinHandle<Result<()>>);

impl ArchiveEnd {
    /// Whether the archive is whole.
    pub async fn check(self) -> Result<()> {
        finished(self.0).await
    }
}

/// What a worker sees of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Its layers alone.
    Layers,
    /// What is mounted in it, too.
    Mounts,
}

impl Containers {
    /// Looks at a path; a symbolic link at its end is not followed, unless a slash is behind it.
    ///
    /// # Errors
    /// `NotFound` for the container and for the path.
    pub async fn stat_path(&self, container: &str, path: &str) -> Result<FileStat> {
        let record = self.find(container)?;
        let (place, at) = (clean(path), path.to_owned());
        let work = move |view, worker: &WorkerCommand| worker.stat_file(view, &place);
        let done = self.engine.clone().with_files(record, Extent::Mounts, work).await;
        done.map_err(|error| missing(error, &at, container))
    }

    /// Reads what is at a path: a directory under its last name with all that is in it, or one file.
    pub async fn archive(&self, container: &str, path: &str) -> Result<(FileStat, Archive)> {
        let record = self.find(container)?;
        let (output, input) = pipe()?;
        let (sender, found) = oneshot::channel();
        let place = clean(path);
        let work = move |view, worker: &WorkerCommand| {
            let mut sender = Some(sender);
            let mut tell = |stat| drop(sender.take().map(|sender| sender.send(stat)));
            worker.pack_files(view, &place, input, &mut tell)
        };
        let work = tokio::spawn(self.engine.clone().with_files(record.clone(), Extent::Mounts, work));
        let Ok(stat) = found.await else {
            let failure = finished(work).await.and(Err(Error::Conflict("nothing was found".into())));
            return failure.map_err(|error| missing(error, path, container));
        };
        self.engine.publish_container(&record, "archive-path");
        Ok((stat, Archive { output, end: ArchiveEnd(work) }))
    }

    /// Puts the files of an archive (plain, gzip or zstd) into the directory at a path.
    pub async fn extract(
        &self,
        container: &str,
        path: &str,
        options: ExtractOptions,
        input: OwnedFd,
    ) -> Result<()> {
        let record = self.find(container)?;
        let owner = Some(record.spec.user.clone()).filter(|user| options.own_by_user && !user.is_empty());
        let options = PlaceOptions { keeps_kinds: options.no_overwrite, owner };
        let place = clean(path);
        let work = move |view, worker: &WorkerCommand| worker.place_files(view, &place, options, input);
        let done = self.engine.clone().with_files(record.clone(), Extent::Mounts, work).await;
        done.map_err(|error| missing(error, path, container))?;
        self.engine.publish_container(&record, "extract-to-dir");
        Ok(())
    }

    /// Reads all of a container's own files, without what is mounted in it.
    pub async fn export(&self, container: &str) -> Result<Archive> {
        let record = self.find(container)?;
        record.refuse_if_going("export")?;
        let (output, input) = pipe()?;
        let work = move |view, worker: &WorkerCommand| worker.export_files(view, input);
        let work = tokio::spawn(self.engine.clone().with_files(record.clone(), Extent::Layers, work));
        self.engine.publish_container(&record, "export");
        Ok(Archive { output, end: ArchiveEnd(work) })
    }
}

impl Engine {
    /// Has a worker do something with a container's files.
    async fn with_files<T: Send + 'static>(
        self: Arc<Self>,
        record: Arc<Record>,
        extent: Extent,
        work: impl FnOnce(View, &WorkerCommand) -> Result<T, WorkerError> + Send + 'static,
    ) -> Result<T> {
        let _place = self.copies.try_acquire().map_err(|_| {
            Error::Conflict(format!("{COPIES_MAX} copies are under way already; wait until some have ended"))
        })?;
        let is_at_rest = || record.live.borrow().state.run().is_none();
        // It may have been started while we waited: then there is no reason to keep others waiting.
        let turn = if is_at_rest() { Some(record.turn().await).filter(|_| is_at_rest()) } else { None };
        if record.live.borrow().is_gone {
            return Err(Error::NoSuchContainer(record.id.clone()));
        }
        let (engine, own) = (self.clone(), record.clone());
        let done = blocking(move || {
            let view = engine.view_files(&own, extent)?;
            work(view, &engine.config.worker).map_err(Error::Files)
        });
        let done = done.await;
        drop(turn);
        done
    }

    fn view_files(&self, record: &Record, extent: Extent) -> Result<View> {
        let run = record.live.borrow().state.run();
        let root = match run {
            Some(run) => Root::Running(mount_namespace(record, run.pid)?),
            None => Root::AtRest(self.mount_layers(&record.id)?),
        };
        let mut mounts = match extent {
            Extent::Layers => Vec::new(),
            Extent::Mounts => self.mounted(record, run.is_some())?,
        };
        mounts.sort_by_key(|mount| mount.target.split('/').count());
        let root_access = access(record.spec.readonly_rootfs);
        Ok(View { root, root_access, mounts })
    }

    /// The layers of a container at rest, as a mount that nobody sees.
    fn mount_layers(&self, id: &str) -> Result<OwnedFd> {
        let mut mounts = self.snapshots().mounts(id)?;
        for mount in &mut mounts {
            // It would be the mount's one use: the kernel refuses a second one of what may have been lost.
            mount.options.retain(|option| option != "volatile");
        }
        let failed =
            |source: io::Error| Error::System { what: "cannot mount the container's layers", source };
        let root = runtime::Rootfs::mount(&mounts)
            .map_err(|error| failed(io::Error::other(crate::error::chain(&error))))?;
        root.as_fd().try_clone_to_owned().map_err(failed)
    }

    /// What is mounted in a container because somebody asked for it, and its files of `/etc`.
    fn mounted(&self, record: &Record, is_running: bool) -> Result<Vec<Mounted>> {
        let mut mounts = Vec::new();
        let mut add = |target: &str, readonly: bool, source: Option<OwnedFd>| {
            mounts.push(Mounted { target: clean_path(target), access: access(readonly), source });
        };
        let mut images = 0;
        for mount in &record.spec.mounts {
            let readonly = match mount {
                MountSpec::Bind(bind) => bind.readonly,
                MountSpec::Volume(volume) => volume.readonly,
                MountSpec::Tmpfs(tmpfs) => tmpfs.options.iter().any(|option| option == "ro"),
                MountSpec::Image(_) => true,
            };
            let source = match mount {
                _ if is_running => None,
                MountSpec::Bind(bind) => {
                    Some(copy_mount(std::path::Path::new(&bind.source), !bind.non_recursive)?)
                }
                MountSpec::Volume(volume) => Some(self.copy_volume(volume)?),
                MountSpec::Image(image) => {
                    images += 1;
                    Some(self.copy_image(record, images - 1, image)?)
                }
                // It is made at each start.
                MountSpec::Tmpfs(_) => continue,
            };
            add(mount.target(), readonly, source);
        }
        let etc = self.etc_files(&record.id);
        let files = [
            ("/etc/hostname", &etc.hostname),
            ("/etc/hosts", &etc.hosts),
            ("/etc/resolv.conf", &etc.resolv_conf),
        ];
        for (target, file) in files {
            let is_asked = record.spec.mounts.iter().any(|mount| clean_path(mount.target()) == target);
            if is_asked || !file.exists() {
                continue;
            }
            let source = if is_running { None } else { Some(copy_mount(file, false)?) };
            add(target, record.spec.readonly_rootfs, source);
        }
        Ok(mounts)
    }
}

fn access(readonly: bool) -> Access {
    if readonly { Access::ReadOnly } else { Access::Writable }
}

/// The mount namespace of a running container.
fn mount_namespace(record: &Record, pid: u32) -> Result<OwnedFd> {
    let failed = |source: io::Error| Error::System { what: "cannot enter the container's mounts", source };
    let open = |path: String| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let is_over = || Error::Conflict(format!("Container {} is not running", record.id));
    let namespace = match open(format!("/proc/{pid}/ns/mnt")) {
        Ok(namespace) => namespace,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => return Err(is_over()),
        Err(errno) => return Err(failed(errno.into())),
    };
    // The process may have ended just now, and its number may be another's: the container's it is only if the container
    // still runs, and the host's it must never be.
    let own = open("/proc/self/ns/mnt".into()).map_err(|errno| failed(errno.into()))?;
    let of = |namespace: &OwnedFd| rustix::fs::fstat(namespace).map(|stat| (stat.st_dev, stat.st_ino));
    let is_host = of(&namespace).ok() == of(&own).ok();
    let still_runs = record.live.borrow().state.run().is_some_and(|run| run.pid == pid);
    if is_host || !still_runs { Err(is_over()) } else { Ok(namespace) }
}

/// A copy of what the host has at a path, attached nowhere.
fn copy_mount(path: &Path, is_recursive: bool) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::InvalidArgument("a path contains a NUL character".into()))?;
    linux::mount::copy(CWD, &name, is_recursive).map_err(|errno| Error::File {
        what: "cannot mount",
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let failed = |source| Error::System { what: "no pipe for an archive", source };
    let (output, input) = io::pipe().map_err(failed)?;
    Ok((output.into(), input.into()))
}

async fn finished(work: JoinHandle<Result<()>>) -> Result<()> {
    match work.await {
        Ok(done) => done,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and the caller with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

/// A path as Docker takes it: from the root, without `..`, and still with the slash or the dot at its end, which say that
/// it leads to a directory.
fn clean(path: &str) -> String {
    let clean = clean_path(path);
    match path.rsplit('/').next() {
        Some(".") => format!("{}/.", clean.trim_end_matches('/')),
        Some("") if !path.is_empty() && clean != "/" => format!("{clean}/"),
        _ => clean,
    }
}

/// A file that is not there, in Docker's words.
fn missing(error: Error, path: &str, container: &str) -> Error {
    match error {
        Error::Files(WorkerError::Refused(refusal)) if refusal.is_not_found() => {
            Error::NoSuchFile { path: path.to_owned(), container: container.to_owned() }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_and_keep_their_ends() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            (".", "/."),
            ("/.", "/."),
            ("a", "/a"),
            ("/a/../b/", "/b/"),
            ("/a/./b/.", "/a/b/."),
            ("../../a", "/a"),
            ("/a/..", "/"),
            ("/a//", "/a/"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
