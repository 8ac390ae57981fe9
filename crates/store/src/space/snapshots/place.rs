//! Which snapshot mounts show: clients give mounts back to have something done with the files.

use std::path::{Path, PathBuf};

use oci::mount::Mount;

use super::{OVERLAYFS, Refusal, Row, Snapshots, names};
use crate::error::Result;
use crate::snapshots::{self, Directories, Kind};
use crate::space::Space;

/// How an overlay is told its upper directory.
const UPPER: &str = "upperdir=";
/// How it is told those below, topmost first.
const LOWER: &str = "lowerdir=";

impl Space<'_> {
    /// The directories of the active snapshot that `mounts` show: the one that a layer goes into, and those below it. They are found by
    /// the first of them; all else that a client says of them is not believed.
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`] for mounts of anything else than one snapshot that a client made in this namespace: what runs in a
    /// container of the engine could change its own layer while it is written to. [`Refusal::ReadOnly`] for one that is not active.
    pub fn writable(self, mounts: &[Mount]) -> Result<Directories> {
        let elsewhere = || Refusal::Elsewhere(mounts.len());
        let [mount] = mounts else { return Err(elsewhere().into()) };
        let (_, row, directories) = self.shown(mount)?.ok_or_else(elsewhere)?;
        if super::rows::owner(&row.backend).is_none() {
            return Err(elsewhere().into());
        }
        if row.info.kind != Kind::Active {
            return Err(Refusal::ReadOnly(row.info.key).into());
        }
        Ok(directories)
    }

    /// The directories of the layers that `mounts` show, topmost first; none for a view of nothing.
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`] for mounts of anything else than one snapshot of this namespace.
    pub fn layers(self, mounts: &[Mount]) -> Result<Vec<PathBuf>> {
        let elsewhere = || Refusal::Elsewhere(mounts.len());
        let mount = match mounts {
            [] => return Ok(Vec::new()),
            [mount] => mount,
            _ => return Err(elsewhere().into()),
        };
        let (snapshotter, row, directories) = self.shown(mount)?.ok_or_else(elsewhere)?;
        let Directories { upper, lower } = directories;
        Ok(match (mount.kind.as_str(), row.info.kind) {
            // It has a directory of its own only if it stands on nothing.
            (_, Kind::View) if snapshotter == OVERLAYFS => lower,
            ("bind", _) => vec![upper],
            _ => [vec![upper], lower].concat(),
        })
    }

    /// The snapshot that a mount shows, with its snapshotter and its directories.
    fn shown(self, mount: &Mount) -> Result<Option<(&'static str, Row, Directories)>> {
        let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
        let top = match mount.kind.as_str() {
            "overlay" => option(UPPER).or_else(|| option(LOWER).and_then(|lower| lower.split(':').next())),
            "bind" => Some(mount.source.as_str()),
            _ => None,
        };
        let Some(top) = top else { return Ok(None) };
        for snapshotter in names::CLIENTS {
            let snapshots = self.snapshots(snapshotter)?;
            if let Some(row) = snapshots.at(Path::new(top))? {
                let directories = snapshots.backend.snapshotter().directories(&row.backend)?;
                return Ok(Some((snapshotter, row, directories)));
            }
        }
        Ok(None)
    }
}

impl Snapshots<'_> {
    /// The snapshot of this namespace whose files are at `path`.
    fn at(&self, path: &Path) -> Result<Option<Row>> {
        let machine = self.backend.snapshotter().name();
        let Some(number) = number_of(path, &self.space.store.layout().snapshots(machine)) else {
            return Ok(None);
        };
        self.read(|rows| {
            let Some(backend) = snapshots::name_of(rows.tx, machine, number)? else { return Ok(None) };
            rows.by_backend(&backend)
        })
    }
}

/// The number of the snapshot whose files are at `path`, below the directory of all.
fn number_of(path: &Path, all: &Path) -> Option<i64> {
    let rest: PathBuf = path.strip_prefix(all).ok()?.into();
    let mut parts = rest.iter();
    let number = parts.next()?.to_str()?.parse().ok()?;
    (parts.next()? == snapshots::FILES && parts.next().is_none()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_files_are_one_directory() {
        let number = |path: &str| number_of(Path::new(path), Path::new("/r/snapshots/overlay"));
        assert_eq!(number("/r/snapshots/overlay/12/fs"), Some(12));
        for other in
            ["/r/snapshots/overlay/12", "/r/snapshots/overlay/12/work", "/r/snapshots/overlay/12/fs/etc"]
        {
            assert_eq!(number(other), None, "{other}");
        }
        for other in
            ["/r/snapshots/native/12/fs", "/r/snapshots/overlay/x/fs", "/r/snapshots/overlay/../12/fs", ""]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
