//! Snapshots as overlayfs: `snapshots/overlay/<n>/{fs,work}`.
//!
//! A committed snapshot is its `fs`; an active one is an upper directory over the `fs` of its chain.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::mount::Mount;

use super::records::{FILES, Insert, Made, Records, tree_usage};
use super::{Directories, Info, Kind, PrepareOptions, Snapshotter, Usage};
use crate::db::{Commit, Db};
use crate::error::{Error, Result};

/// The overlay snapshotter.
#[derive(Debug)]
pub struct Overlay {
    records: Records,
}

impl Overlay {
    /// Also tells which snapshots were lost.
    pub(crate) fn open(root: PathBuf, db: Arc<Db>, is_trusted: bool) -> Result<(Overlay, Vec<String>)> {
        let overlay = Overlay { records: Records::open("overlay", root, db, is_trusted)? };
        let lost = overlay.records.mend(is_trusted, |info| {
            let lower = overlay.lower(info.parent.as_deref())?;
            let directory = overlay.records.remake(info.number)?;
            // A layer that is gone as well is unpacked again; until then nobody knows what its root looks like.
            fill(&directory, lower.first().filter(|lower| lower.is_dir()))
        })?;
        Ok((overlay, lost))
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    fn upper(&self, number: i64) -> PathBuf {
        self.records.directory(number).join(FILES)
    }

    fn lower(&self, parent: Option<&str>) -> Result<Vec<PathBuf>> {
        let chain = parent.map_or(Ok(Vec::new()), |parent| self.records.chain(parent))?;
        Ok(chain.iter().map(|info| self.upper(info.number)).collect())
    }

    fn mounts_of(&self, info: &Info) -> Result<Vec<Mount>> {
        let lower = self.lower(info.parent.as_deref())?;
        let upper = self.upper(info.number);
        Ok(vec![match (info.kind, lower.as_slice()) {
            (Kind::Committed, _) => {
                return Err(Error::Snapshot { name: info.name.clone(), why: "is committed" });
            }
            (Kind::Active, []) => bind(&upper, "rw"),
            (Kind::View, []) => bind(&upper, "ro"),
            (Kind::View, [only]) => bind(only, "ro"),
            (Kind::View, lower) => overlay(vec![lowerdir(lower)]),
            (Kind::Active, lower) => {
                let work = self.records.directory(info.number).join("work");
                let mut options = vec![
                    format!("workdir={}", work.display()),
                    format!("upperdir={}", upper.display()),
                    lowerdir(lower),
                ];
                if info.volatile {
                    options.push("volatile".to_owned());
                }
                overlay(options)
            }
        }])
    }

    /// The directory of a snapshot that is to stand on `parent`.
    pub(super) fn draft(&self, parent: Option<&str>) -> Result<Made> {
        let lower = self.lower(parent)?;
        let made = self.records.make()?;
        fill(&made.path, lower.first())?;
        Ok(made)
    }

    fn make(&self, key: &str, kind: Kind, insert: Insert<'_>) -> Result<Vec<Mount>> {
        let made = self.draft(insert.parent)?;
        let info = Info {
            name: key.to_owned(),
            kind,
            parent: insert.parent.map(str::to_owned),
            number: made.number,
            volatile: insert.volatile,
            synced: false,
            created_ns: 0,
        };
        self.records.insert(made, key, kind, insert)?;
        self.mounts_of(&info)
    }
}

impl Snapshotter for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn prepare(&self, key: &str, parent: Option<&str>, options: PrepareOptions) -> Result<Vec<Mount>> {
        let insert = Insert { parent, volatile: options.volatile, commit: options.commit };
        self.make(key, Kind::Active, insert)
    }

    fn view(&self, key: &str, parent: &str) -> Result<Vec<Mount>> {
        self.make(key, Kind::View, Insert { parent: Some(parent), volatile: false, commit: Commit::Ordered })
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        self.mounts_of(&self.records.stat(key)?)
    }

    fn commit(&self, name: &str, key: &str) -> Result<()> {
        self.records.commit(name, key)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.records.remove(name)
    }

    fn stat(&self, name: &str) -> Result<Info> {
        self.records.stat(name)
    }

    fn list(&self) -> Result<Vec<Info>> {
        self.records.list()
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        tree_usage(&self.upper(self.records.stat(name)?.number))
    }

    fn note_size(&self, name: &str, bytes: u64) -> Result<()> {
        self.records.note_size(name, bytes)
    }

    fn size(&self, name: &str) -> Result<u64> {
        self.records.size(name)
    }

    fn directories(&self, key: &str) -> Result<Directories> {
        let info = self.records.stat(key)?;
        Ok(Directories { upper: self.upper(info.number), lower: self.lower(info.parent.as_deref())? })
    }

    fn cleanup(&self) -> Result<usize> {
        self.records.cleanup()
    }
}

fn lowerdir(lower: &[PathBuf]) -> String {
    let paths: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
    format!("lowerdir={}", paths.join(":"))
}

fn overlay(options: Vec<String>) -> Mount {
    Mount { kind: "overlay".into(), source: "overlay".into(), target: String::new(), options }
}

fn bind(path: &Path, access: &str) -> Mount {
    Mount {
        kind: "bind".into(),
        source: path.display().to_string(),
        target: String::new(),
        options: vec![access.to_owned(), "rbind".to_owned()],
    }
}

pub(super) fn make_dir(path: &Path, mode: u32) -> Result<()> {
    let failed = |source| Error::file("create", path, source);
    DirBuilder::new().mode(mode).create(path).map_err(failed)?;
    // The process's umask must not decide what a container sees.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn fill(directory: &Path, lower: Option<&PathBuf>) -> Result<()> {
    make_like(&directory.join(FILES), lower)?;
    make_dir(&directory.join("work"), 0o700)
}

/// Makes a root directory with the owner and mode of the one below it: the root of a merged tree shows the upper one's.
fn make_like(path: &Path, lower: Option<&PathBuf>) -> Result<()> {
    let Some(lower) = lower else { return make_dir(path, 0o755) };
    let data = fs::metadata(lower).map_err(|source| Error::file("look at", lower, source))?;
    make_dir(path, data.mode() & 0o7777)?;
    if (data.uid(), data.gid()) != (0, 0) {
        chown(path, Some(data.uid()), Some(data.gid()))
            .map_err(|source| Error::file("change owner of", path, source))?;
        fs::set_permissions(path, fs::Permissions::from_mode(data.mode() & 0o7777))
            .map_err(|source| Error::file("change mode of", path, source))?;
    }
    Ok(())
}
