//! Volumes: directories that outlive containers.
//!
//! `<root>/volumes/<name>/_data` and a row; beside `_data` the empty file `fresh` as long as no container used it. The directory is made first, with an intent; the row makes it a volume. On
//! removal the row goes first. A directory without a row and without an intent is left alone: after the loss of a
//! database it is somebody's data. On `_data` a file system may be mounted ([`local`]), which is nothing to delete from.

mod copy_up;
mod local;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use local::FileSystem;
pub(crate) use local::Mounted;
use store::intents::Intent;
use store::{Commit, volumes as rows};

use crate::blocking::blocking;
use crate::clock;
use crate::containers::record::Record;
use crate::containers::spec::{ContainerSpec, MountSpec, VolumeMount};
use crate::engine::Engine;
use crate::error::{Error, Result, chain};
use crate::events::Kind;
use crate::prune::{PruneFilter, has_labels};

/// Volumes belong to the machine; in the database they are all in one namespace.
const NAMESPACE: &str = "default";
const NAME_MAX: usize = 255;
/// Docker marks volumes that got their name from the engine; `volume prune` without `--all` takes only those.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
/// Marks a volume that no container used yet.
const FRESH: &str = "fresh";
/// The kind of the intent of a volume that is being made.
pub(crate) const MAKE_INTENT: &str = "volume";

/// The volumes of the engine.
#[derive(Debug, Clone)]
pub struct Volumes {
    pub(crate) engine: Arc<Engine>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub mountpoint: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub created_ns: i64,
    /// Ids of the containers that use it.
    pub used_by: Vec<String>,
}

/// Which volumes `list` returns.
#[derive(Debug, Clone, Default)]
pub struct VolumeFilter {
    /// Parts of names.
    pub names: Vec<String>,
    pub labels: Vec<(String, Option<String>)>,
    pub dangling: Option<bool>,
}

/// A volume whose directory is there and whose row is not yet; undone when it is dropped.
#[derive(Debug)]
pub(crate) struct MadeVolume {
    pub(crate) row: rows::Volume,
    directory: PathBuf,
    intent: Option<Intent>,
}

impl MadeVolume {
    /// The row is there.
    fn keep(mut self) -> rows::Volume {
        if let Some(intent) = self.intent.take() {
            finish(intent);
        }
        self.row.clone()
    }
}

impl Drop for MadeVolume {
    fn drop(&mut self) {
        if let Some(intent) = self.intent.take() {
            drop(remove_directory(&self.directory));
            finish(intent);
        }
    }
}

fn finish(intent: Intent) {
    if let Err(error) = intent.finish() {
        tracing::warn!(error = chain(&error), "an intent could not be removed");
    }
}

impl Volumes {
    /// Makes a volume, with the options of Docker's driver `local`; one that is there already is returned as it is. No
    /// name: one is made up.
    pub async fn create(
        &self,
        name: Option<&str>,
        mut labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => {
                check_name(name)?;
                name.to_owned()
            }
            None => {
                labels.insert(ANONYMOUS_LABEL.into(), String::new());
                crate::random::hex::<32>()
            }
        };
        let _turn = self.engine.volumes_turn.lock().await;
        let engine = self.engine.clone();
        blocking(move || {
            if let Some(row) = engine.volume_row(&name)? {
                return Ok(engine.volume(row));
            }
            let made = engine.make_volume(&name, labels, options, clock::now_ns())?;
            let row = made.row.clone();
            engine.store.write(Commit::Durable, move |tx| rows::insert(tx, &row))?;
            Ok(engine.volume(engine.volume_made(made)))
        })
        .await
    }

    /// One volume.
    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || match engine.volume_row(&name)? {
            Some(row) => Ok(engine.volume(row)),
            None => Err(Error::NoSuchVolume(name)),
        })
        .await
    }

    /// Those that match, by name.
    pub async fn list(&self, filter: &VolumeFilter) -> Result<Vec<Volume>> {
        let (engine, filter) = (self.engine.clone(), filter.clone());
        blocking(move || {
            let rows = engine.store.read(|tx| rows::list(tx, NAMESPACE))?;
            let volumes = rows.into_iter().map(|row| engine.volume(row));
            Ok(volumes.filter(|volume| filter.matches(volume)).collect())
        })
        .await
    }

    /// Removes it, unless a container uses it. `force`: one that is not there is no error.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let _turn = self.engine.volumes_turn.lock().await;
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || {
            if engine.volume_row(&name)?.is_none() {
                return if force { Ok(()) } else { Err(Error::NoSuchVolume(name)) };
            }
            let users = engine.volume_users(&name);
            if !users.is_empty() {
                return Err(Error::Conflict(format!(
                    "remove {name}: volume is in use - [{}]",
                    users.join(", ")
                )));
            }
            engine.remove_volume(&name)
        })
        .await
    }

    /// Removes anonymous volumes (`all`: any) that match and that no container uses; returns names and bytes.
    pub async fn prune(&self, all: bool, filter: &PruneFilter) -> Result<(Vec<String>, u64)> {
        let _turn = self.engine.volumes_turn.lock().await;
        let (engine, filter) = (self.engine.clone(), filter.clone());
        blocking(move || {
            let mut pruned = (Vec::new(), 0);
            for row in engine.store.read(|tx| rows::list(tx, NAMESPACE))? {
                let volume = engine.volume(row);
                let is_anonymous = volume.labels.contains_key(ANONYMOUS_LABEL);
                let is_wanted =
                    (all || is_anonymous) && filter.matches(&volume.labels, Some(volume.created_ns));
                if !is_wanted || !volume.used_by.is_empty() {
                    continue;
                }
                let bytes = crate::usage::tree_bytes(volume.mountpoint.as_ref());
                engine.remove_volume(&volume.name)?;
                pruned.0.push(volume.name);
                pruned.1 += bytes;
            }
            engine.publish_pruned(None, Kind::Volume, pruned.1);
            Ok(pruned)
        })
        .await
    }
}

impl VolumeFilter {
    fn matches(&self, volume: &Volume) -> bool {
        (self.names.is_empty() || self.names.iter().any(|part| volume.name.contains(part.as_str())))
            && has_labels(&volume.labels, &self.labels)
            && self.dangling.is_none_or(|dangling| volume.used_by.is_empty() == dangling)
    }
}

impl Engine {
    /// Names the anonymous volumes of a container to come, makes the directories of those that are not there, and fills
    /// the empty ones with what the image has at their targets.
    pub(crate) fn make_volumes(
        &self,
        spec: &mut ContainerSpec,
        layer: &str,
        created_ns: i64,
    ) -> Result<Vec<MadeVolume>> {
        let mut made: Vec<MadeVolume> = Vec::new();
        for mount in &mut spec.mounts {
            let MountSpec::Volume(volume) = mount else { continue };
            if volume.name.is_empty() {
                volume.name = crate::random::hex::<32>();
                volume.anonymous = true;
            }
            let is_new = !made.iter().any(|made| made.row.name == volume.name)
                && self.volume_row(&volume.name)?.is_none();
            if is_new {
                let mut labels = volume.labels.clone();
                if volume.anonymous {
                    labels.insert(ANONYMOUS_LABEL.into(), String::new());
                }
                let options = volume.options.clone();
                made.push(self.make_volume(&volume.name, labels, options, created_ns)?);
            }
            let own = made.iter().find(|made| made.row.name == volume.name).map(|made| &made.row);
            self.fill_volume(volume, own, layer)?;
        }
        Ok(made)
    }

    /// The row of a new volume is there.
    pub(crate) fn volume_made(&self, made: MadeVolume) -> rows::Volume {
        let row = made.keep();
        self.events.publish(None, Kind::Volume, "create", (&row.name, driver()));
        row
    }

    /// Says of each volume of a container that it is used now (`mount`), or not any more (`unmount`).
    pub(crate) fn publish_volumes(&self, record: &Record, action: &str) {
        for mount in &record.spec.mounts {
            let MountSpec::Volume(volume) = mount else { continue };
            let mut attributes = driver();
            attributes.insert("container".into(), record.id.clone());
            attributes.insert("destination".into(), volume.target.clone());
            attributes.insert("read/write".into(), (!volume.readonly).to_string());
            self.events.publish(None, Kind::Volume, action, (&volume.name, attributes));
        }
    }

    /// Mounts the volumes that a run needs and that are file systems; [`Engine::release_volumes`] lets go of them.
    pub(crate) fn use_volumes(&self, record: &Record) -> Result<()> {
        for mount in &record.spec.mounts {
            let MountSpec::Volume(volume) = mount else { continue };
            let row =
                self.volume_row(&volume.name)?.ok_or_else(|| Error::NoSuchVolume(volume.name.clone()))?;
            self.use_volume(&row, &record.id)?;
        }
        Ok(())
    }

    pub(crate) fn use_volume(&self, row: &rows::Volume, user: &str) -> Result<()> {
        match FileSystem::read(&row.name, &row.options)? {
            Some(system) => self.mounted.acquire(&row.name, user, &system, &self.volume_path(&row.name)),
            None => Ok(()),
        }
    }

    /// A run that went on while there was no engine uses its volumes still.
    pub(crate) fn adopt_volumes(&self, record: &Record) {
        for mount in &record.spec.mounts {
            if let MountSpec::Volume(volume) = mount
                && self
                    .volume_row(&volume.name)
                    .is_ok_and(|row| row.is_some_and(|row| !row.options.is_empty()))
            {
                self.mounted.adopt(&volume.name, &record.id);
            }
        }
    }

    /// The user, a container's run, is over.
    pub(crate) fn release_volumes(&self, user: &str) {
        self.mounted.release(user, |volume| self.volume_path(volume));
    }

    /// Unmounts what nobody uses: what a daemon that was killed left mounted.
    pub(crate) fn sweep_volumes(&self) -> Result<()> {
        for row in self.store.read(|tx| rows::list(tx, NAMESPACE))? {
            if !row.options.is_empty() {
                self.mounted.sweep(&row.name, &self.volume_path(&row.name));
            }
        }
        Ok(())
    }

    /// The containers that use a volume.
    pub(crate) fn volume_users(&self, name: &str) -> Vec<String> {
        let uses = |spec: &ContainerSpec| {
            spec.mounts.iter().any(|mount| matches!(mount, MountSpec::Volume(volume) if volume.name == name))
        };
        self.index
            .all()
            .into_iter()
            .filter(|record| uses(&record.spec))
            .map(|record| record.id.clone())
            .collect()
    }

    /// Removes a volume that nobody uses: its row, then its files.
    pub(crate) fn remove_volume(&self, name: &str) -> Result<()> {
        let owned = name.to_owned();
        self.store.write(Commit::Durable, move |tx| rows::delete(tx, NAMESPACE, &owned))?;
        self.remove_volume_files(name);
        self.events.publish(None, Kind::Volume, "destroy", (name, driver()));
        Ok(())
    }

    /// Removes the directory of a volume without a row.
    pub(crate) fn remove_volume_files(&self, name: &str) {
        let directory = self.store.layout().volumes().join(name);
        if let Err(error) = remove_directory(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %directory.display(), %error, "a volume's files could not be removed");
        }
    }

    pub(crate) fn volume_row(&self, name: &str) -> Result<Option<rows::Volume>> {
        Ok(self.store.read(|tx| rows::get(tx, NAMESPACE, name))?)
    }

    pub(crate) fn volume_path(&self, name: &str) -> PathBuf {
        self.store.layout().volumes().join(name).join("_data")
    }

    fn volume(&self, row: rows::Volume) -> Volume {
        Volume {
            mountpoint: self.volume_path(&row.name).display().to_string(),
            used_by: self.volume_users(&row.name),
            name: row.name,
            labels: row.labels,
            options: row.options,
            created_ns: row.created_ns,
        }
    }

    fn make_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
        created_ns: i64,
    ) -> Result<MadeVolume> {
        FileSystem::read(name, &options)?;
        let row =
            rows::Volume { namespace: NAMESPACE.into(), name: name.to_owned(), labels, options, created_ns };
        let directory = self.store.layout().volumes().join(name);
        let make = |mode: u32, path: &Path| {
            std::fs::DirBuilder::new().mode(mode).create(path).map_err(|source| Error::File {
                what: "make the volume",
                path: path.to_owned(),
                source,
            })
        };
        // The intent comes first: it is what makes a directory ours to remove. One that is there without a row was
        // somebody's volume when the database was lost, and becomes it again.
        let intent = if directory.exists() { None } else { Some(self.intents.begin(MAKE_INTENT, name)?) };
        let is_new = intent.is_some();
        let made = MadeVolume { row, directory, intent };
        if is_new {
            make(0o701, &made.directory)?;
            let data = self.volume_path(name);
            make(0o755, &data)?;
            let fresh = data.with_file_name(FRESH);
            std::fs::write(&fresh, "").map_err(|source| Error::File { what: "mark", path: fresh, source })?;
        }
        Ok(made)
    }

    /// Docker's rule: a new volume begins with what the image has at its target. Ours is one that no container used yet;
    /// one that was emptied stays empty. `made`: its row, when it is not in the database yet.
    fn fill_volume(&self, volume: &VolumeMount, made: Option<&rows::Volume>, layer: &str) -> Result<()> {
        // A part of a volume that is there cannot be in one that was never filled.
        if !volume.subpath.is_empty() {
            return Ok(());
        }
        let target = self.volume_path(&volume.name);
        let failed = |source| Error::File { what: "fill the volume", path: target.clone(), source };
        match std::fs::remove_file(target.with_file_name(FRESH)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(failed)?,
        }
        if volume.no_copy {
            return Ok(());
        }
        let key = format!("copy-{}", crate::random::hex::<8>());
        let mounts = self.snapshots().view(&key, layer)?;
        let filled = self.fill(&key, volume, made, &mounts);
        self.release_volumes(&key);
        self.snapshots().remove(&key)?;
        filled
    }

    fn fill(
        &self,
        user: &str,
        volume: &VolumeMount,
        made: Option<&rows::Volume>,
        image: &[oci::mount::Mount],
    ) -> Result<()> {
        let target = self.volume_path(&volume.name);
        let failed = |source| Error::File { what: "fill the volume", path: target.clone(), source };
        let root = runtime::Rootfs::mount(image).map_err(std::io::Error::other).map_err(failed)?;
        let Some(source) = copy_up::open(root.as_fd(), &volume.target).map_err(failed)? else {
            return Ok(());
        };
        match made {
            Some(row) => self.use_volume(row, user)?,
            None => self.volume_row(&volume.name)?.map_or(Ok(()), |row| self.use_volume(&row, user))?,
        }
        if std::fs::read_dir(&target).map_err(failed)?.next().is_some() {
            return Ok(());
        }
        copy_up::copy(source, &target).map_err(failed)
    }
}

/// Removes the directory of a volume, and nothing of what is mounted in it.
fn remove_directory(directory: &Path) -> std::io::Result<()> {
    let data = directory.join("_data");
    local::unmount(&data)?;
    std::fs::remove_dir_all(directory)
}

/// Names of volumes follow Docker's rule; they become directories.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && (2..=NAME_MAX).contains(&name.len()) {
        return Ok(());
    }
    if name.len() == 1 {
        return Err(Error::InvalidArgument(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    Err(Error::InvalidArgument(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

fn driver() -> BTreeMap<String, String> {
    BTreeMap::from([("driver".to_owned(), "local".to_owned())])
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_volumes_cannot_leave_their_directory() {
        for name in ["data", "a1", "a.b_c-d", &"x".repeat(255)] {
            assert!(super::check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a", "..", ".a", "a/b", "../x", "a b", "a\0", "-a", &"x".repeat(256)] {
            assert!(super::check_name(name).is_err(), "{name}");
        }
    }
}
