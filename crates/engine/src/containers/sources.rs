//! Where the mounts of a run come from: parts of volumes and files of images, opened before the shim wants them.
//!
//! A part of a volume is found by descriptor, below the volume's root: whoever writes to the volume may make links in it.
//! An image's files are a snapshot of the container's (`<id>-image-<n>`), which is there as long as the container, mounted
//! in the bundle (`image-<n>`) as long as the run.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::merge::clean_path;
use super::record::{Identity, Record};
use super::spec::{ContainerSpec, ImageMount, MountSpec, VolumeMount};
use crate::engine::Engine;
use crate::error::{Error, Result, chain};

/// The sources of a run's mounts of volumes and images.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// By the target of the mount.
    pub(crate) paths: BTreeMap<String, PathBuf>,
    /// What some of the paths name, as long as this process has it open.
    pub(crate) held: Vec<OwnedFd>,
}

impl Engine {
    /// Finds the images that are mounted, and keeps their files for the container.
    pub(crate) fn keep_images(&self, identity: &Identity, spec: &mut ContainerSpec) -> Result<()> {
        for (number, mount) in images(spec).enumerate() {
            let image = self.resolve_image(&identity.namespace, &mount.image).map_err(|error| {
                // Not as one that is missing: clients would pull the container's own image then.
                Error::InvalidArgument(format!("invalid mount config for type \"image\": {}", chain(&error)))
            })?;
            self.snapshots().view(&image_key(&identity.id, number), &image.layer)?;
            mount.image_id = image.id;
        }
        Ok(())
    }

    /// Lets go of them.
    pub(crate) fn drop_images(&self, id: &str) {
        for number in 0.. {
            match self.snapshots().remove(&image_key(id, number)) {
                Ok(()) => {}
                Err(error) if error.code() == api::code::Code::NotFound => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(container = id, error, "an image's files are still kept");
                    return;
                }
            }
        }
    }

    /// Mounts and opens what the mounts of a run begin with.
    pub(crate) fn open_sources(&self, record: &Record, bundle: &Path) -> Result<Sources> {
        self.use_volumes(record)?;
        let mut sources = Sources::default();
        let mut images = 0;
        for mount in &record.spec.mounts {
            let (whole, subpath) = match mount {
                MountSpec::Volume(volume) => (self.volume_path(&volume.name), &volume.subpath),
                MountSpec::Image(image) => {
                    let place = self.mount_image(record, bundle, (images, image))?;
                    images += 1;
                    (place, &image.subpath)
                }
                MountSpec::Bind(_) | MountSpec::Tmpfs(_) => continue,
            };
            let target = clean_path(mount.target());
            if subpath.is_empty() {
                sources.paths.insert(target, whole);
                continue;
            }
            let part = open_below(&whole, subpath).map_err(|errno| inaccessible(&whole, subpath, errno))?;
            sources.paths.insert(target, linux::path::of_descriptor(part.as_fd()));
            sources.held.push(part);
        }
        Ok(sources)
    }

    /// What a container at rest has of a volume, as a mount that nobody sees.
    pub(crate) fn copy_volume(&self, volume: &VolumeMount) -> Result<OwnedFd> {
        let row = self.volume_row(&volume.name)?.ok_or_else(|| Error::NoSuchVolume(volume.name.clone()))?;
        let user = format!("copy-{}", crate::random::hex::<8>());
        let copied = self.use_volume(&row, &user).and_then(|()| {
            let whole = self.volume_path(&volume.name);
            let part = open_below(&whole, &volume.subpath);
            part.and_then(|part| linux::mount::copy(part.as_fd(), c"", true))
                .map_err(|errno| inaccessible(&whole, &volume.subpath, errno))
        });
        // The copy outlives the mount that it was made of.
        self.release_volumes(&user);
        copied
    }

    /// What a container at rest has of an image, as a mount that nobody sees.
    pub(crate) fn copy_image(&self, record: &Record, number: usize, image: &ImageMount) -> Result<OwnedFd> {
        let files = runtime::Rootfs::mount(&self.image_mounts(record, number, image)?);
        let files = files
            .map_err(std::io::Error::other)
            .map_err(|source| Error::System { what: "cannot mount an image's files", source })?;
        let copy = match image.subpath.as_str() {
            "" => rustix::io::fcntl_dupfd_cloexec(files.as_fd(), 3),
            subpath => {
                part_of(files.as_fd(), subpath).and_then(|part| linux::mount::copy(part.as_fd(), c"", true))
            }
        };
        copy.map_err(|errno| inaccessible(Path::new(&image.image), &image.subpath, errno))
    }

    fn image_mounts(
        &self,
        record: &Record,
        number: usize,
        image: &ImageMount,
    ) -> Result<Vec<oci::mount::Mount>> {
        let key = image_key(&record.id, number);
        match self.snapshots().mounts(&key) {
            // A layer below it was not on disk yet when the machine went down, and the store has dropped it.
            Err(store::Error::NotFound { name, .. }) if name != key => {
                self.unpack_again(&record.namespace, &image.image_id)?;
                Ok(self.snapshots().mounts(&key)?)
            }
            mounts => Ok(mounts?),
        }
    }

    fn mount_image(
        &self,
        record: &Record,
        bundle: &Path,
        (number, image): (usize, &ImageMount),
    ) -> Result<PathBuf> {
        let mounts = self.image_mounts(record, number, image)?;
        let place = bundle.join(image_name(number));
        let failed = |source| Error::File { what: "mount the image's files at", path: place.clone(), source };
        std::fs::create_dir(&place).map_err(failed)?;
        let files = runtime::Rootfs::mount(&mounts).map_err(std::io::Error::other).map_err(failed)?;
        attach(files.as_fd(), &place).map_err(|errno| failed(errno.into()))?;
        Ok(place)
    }
}

/// Unmounts what [`Engine::open_sources`] mounted in a bundle.
pub(crate) fn unmount_images(bundle: &Path) {
    for number in 0.. {
        let place = bundle.join(image_name(number));
        if !place.exists() {
            return;
        }
        // Nothing is mounted when the start failed before; what is mounted still, cannot be deleted from.
        let _ = rustix::mount::unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

fn images(spec: &mut ContainerSpec) -> impl Iterator<Item = &mut ImageMount> {
    spec.mounts.iter_mut().filter_map(|mount| match mount {
        MountSpec::Image(image) => Some(image),
        MountSpec::Bind(_) | MountSpec::Volume(_) | MountSpec::Tmpfs(_) => None,
    })
}

fn image_key(id: &str, number: usize) -> String {
    format!("{id}-{}", image_name(number))
}

fn image_name(number: usize) -> String {
    format!("image-{number}")
}

fn attach(files: BorrowedFd<'_>, place: &Path) -> rustix::io::Result<()> {
    let place = rustix::fs::openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    linux::mount::attach(files, place.as_fd())
}

/// A file or directory below a directory of ours, whatever links lead to.
fn open_below(directory: &Path, subpath: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    part_of(rustix::fs::openat(CWD, directory, flags, Mode::empty())?.as_fd(), subpath)
}

/// An empty `subpath` is the root itself.
fn part_of(root: BorrowedFd<'_>, subpath: &str) -> rustix::io::Result<OwnedFd> {
    let subpath = if subpath.is_empty() { "." } else { subpath };
    let subpath = CString::new(subpath).map_err(|_| rustix::io::Errno::INVAL)?;
    linux::path::open_in_root(root, &subpath, OFlags::PATH)
}

/// Docker's words, which its clients take their exit code from.
fn inaccessible(whole: &Path, subpath: &str, errno: rustix::io::Errno) -> Error {
    let path = whole.join(subpath);
    let why = match errno {
        rustix::io::Errno::NOENT => "no such file or directory".to_owned(),
        rustix::io::Errno::NOTDIR => "not a directory".to_owned(),
        errno => errno.to_string(),
    };
    Error::InvalidArgument(format!("cannot access path {0}: lstat {0}: {why}", path.display()))
}
