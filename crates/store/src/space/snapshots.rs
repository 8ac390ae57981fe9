//! Snapshots as containerd's clients see them, namespace by namespace.
//!
//! ```text
//!   row (namespace, snapshotter, key) ── backend ─▶ a snapshot of the machine
//!        ├ made by a client          `<namespace>/<key>`   goes with its row
//!        ├ a layer of an image       `sha256:…`            adopted; goes when nothing holds it
//!        └ a container's own layer   `<container>`         adopted; goes with its container
//! ```
//!
//! A row and its snapshot are made, renamed and removed in one transaction; the directory is made before it and set aside after
//! it, as for all snapshots. A snapshot that vanishes otherwise, because a power failure took it or a collection, takes its rows
//! along ([`forget`]). A layer is removed for a client by letting go of it: what the engine needs again it unpacks again.
//!
//! Clients mount for themselves: what they are told has containerd's form. Its overlay is called `overlayfs`.

mod adopt;
mod mapping;
mod names;
mod place;
mod refusal;
mod rows;

use std::path::{Path, PathBuf};

use oci::mount::Mount;

use super::labels::{self, Mask};
use super::leases::{self, Resource};
use super::{Space, identifier};
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::Labels;
use crate::snapshots::{self, Backend, Kind, NewRow, Usage};

use mapping::Mapping;
pub(crate) use names::to_machine;
pub use names::{NATIVE, OVERLAYFS};
pub use refusal::Refusal;
pub(crate) use rows::{COLUMNS, forget, mend, read};
use rows::{Row, Rows};

/// Names the snapshot that a prepared one is to become. Who has that one already need not make it.
const TARGET_LABEL: &str = "containerd.io/snapshot.ref";
/// There if the kernel's overlay keeps an index at all.
const OVERLAY_INDEX: &str = "/sys/module/overlay/parameters/index";

/// What a client knows of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub key: String,
    pub parent: Option<String>,
    pub kind: Kind,
    pub created_ns: i64,
    pub updated_ns: i64,
    pub labels: Labels,
}

/// What comes with a new snapshot.
#[derive(Debug, Clone, Default)]
pub struct Creation<'a> {
    /// The committed snapshot below a prepared one or a view. At a commit: below one that stood on nothing.
    pub parent: Option<&'a str>,
    pub labels: Labels,
    /// Holds it from its first moment.
    pub lease: Option<&'a str>,
}

/// One snapshotter's snapshots of one namespace.
#[derive(Debug, Clone, Copy)]
pub struct Snapshots<'a> {
    space: Space<'a>,
    /// As clients call it.
    name: &'static str,
    backend: Backend<'a>,
}

impl<'a> Space<'a> {
    /// Its snapshots, by containerd's name of the snapshotter: `overlayfs` or `native`.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`] for any other name.
    pub fn snapshots(self, snapshotter: &str) -> Result<Snapshots<'a>> {
        let (name, backend) = match snapshotter {
            OVERLAYFS => (OVERLAYFS, Backend::Overlay(&self.store.overlay)),
            NATIVE => (NATIVE, Backend::Native(&self.store.native)),
            "" => return Err(Refusal::NotNamed.into()),
            other => return Err(Refusal::NotLoaded(other.to_owned()).into()),
        };
        Ok(Snapshots { space: self, name, backend })
    }
}

impl Snapshots<'_> {
    /// Makes a writable snapshot; the mounts that show it.
    ///
    /// # Errors
    /// `AlreadyExists` for the key, or for the snapshot that it is to become; the lease holds those, too. `NotFound` for the
    /// parent, `InvalidArgument` for one that is not committed.
    pub fn prepare(&self, key: &str, creation: Creation<'_>) -> Result<Vec<Mount>> {
        self.create(Kind::Active, key, creation)
    }

    /// Makes a snapshot to be looked at; otherwise as [`Snapshots::prepare`].
    pub fn view(&self, key: &str, creation: Creation<'_>) -> Result<Vec<Mount>> {
        self.create(Kind::View, key, creation)
    }

    /// The mounts that show an active snapshot or a view.
    pub fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let row = self.get(key)?;
        if row.info.kind == Kind::Committed {
            return Err(Refusal::Committed(key.to_owned()).into());
        }
        let mounts = self.backend.snapshotter().mounts(&row.backend);
        let mounts = mounts.map_err(|error| match error {
            // Its row is there: it is a layer below that is not.
            Error::NotFound { kind: "snapshot", name } if name != row.backend => {
                Refusal::LayerGone { key: key.to_owned(), layer: name }.into()
            }
            error => error,
        })?;
        let mapping = Mapping::of(&row.info.labels)?;
        let finished = |mount| match &mapping {
            Some(mapping) => mapping.on(self.in_clients_form(mount)),
            None => self.in_clients_form(mount),
        };
        Ok(mounts.into_iter().map(finished).collect())
    }

    /// Turns an active snapshot into a committed one with another name. Its labels are those that are given now.
    ///
    /// # Errors
    /// `AlreadyExists` for the name, which the lease then holds; `NotFound` for the key or the parent.
    pub fn commit(&self, name: &str, key: &str, creation: Creation<'_>) -> Result<()> {
        check_key(name)?;
        let labels = checked(creation.labels)?;
        Mapping::wanted(self.name, &labels)?;
        let wanted: Vec<&str> = [Some(name), Some(key), creation.parent].into_iter().flatten().collect();
        self.adopt(&wanted)?;
        let before = self.read(|rows| rows.get(key))?;
        // Before the transaction: it takes its time, and the writer is one for all. Nobody else commits this key meanwhile
        // without this one failing.
        let usage = match &before {
            Some(row) if row.info.kind == Kind::Active => snapshots::disk_usage(&self.upper(&row.backend)?)?,
            _ => Usage::default(),
        };
        let (name, key) = (name.to_owned(), key.to_owned());
        let parent = creation.parent.map(str::to_owned);
        self.write(creation.lease, move |rows, lease| {
            if rows.get(&name)?.is_some() {
                lease.hold(rows, &name)?;
                return Ok(Err(Refusal::Taken(name)));
            }
            let row = rows.get(&key)?.ok_or_else(|| Refusal::Missing(key.clone()))?;
            let base = rebased(rows, &row, parent)?;
            let backend = rows.backend_of(&name);
            snapshots::commit_row(rows.tx, rows.machine, &backend, &row.backend)?;
            if let Some(base) = base.as_ref().filter(|_| row.info.parent.is_none()) {
                snapshots::set_parent(rows.tx, rows.machine, &backend, &base.backend)?;
            }
            snapshots::note_usage(rows.tx, rows.machine, &backend, usage)?;
            rows.delete(&key)?;
            let now = now_ns();
            let parent = row.info.parent.or(base.map(|base| base.info.key));
            let info =
                Info { key: name, parent, kind: Kind::Committed, created_ns: now, updated_ns: now, labels };
            rows.insert(&info, &backend)?;
            lease.hold(rows, &info.key)?;
            lease.release(rows, &key)?;
            Ok(Ok(()))
        })
    }

    /// Removes a snapshot without children. The files of one that a client made wait for [`Snapshots::cleanup`].
    ///
    /// # Errors
    /// `FailedPrecondition` for one with children; `NotFound` for a container's own layer, which goes with the container.
    pub fn remove(&self, key: &str, lease: Option<&str>) -> Result<()> {
        // All: what stands on it must be known.
        self.adopt(&[])?;
        let key = key.to_owned();
        let number = self.write(lease, move |rows, lease| {
            let row = rows.get(&key)?.ok_or_else(|| Refusal::Missing(key.clone()))?;
            if rows.has_child(&key)? {
                return Err(Refusal::HasChild.into());
            }
            refuse_containers(rows, &row)?;
            rows.delete(&key)?;
            lease.release(rows, &key)?;
            Ok(Ok(if rows.is_own(&row.backend) {
                Some(snapshots::remove_row(rows.tx, rows.machine, &row.backend)?)
            } else {
                adopt::let_go(rows.tx, &row.backend)?;
                None
            }))
        })?;
        number.map_or(Ok(()), |number| self.backend.records().set_aside(number))
    }

    /// What is known of it.
    pub fn stat(&self, key: &str) -> Result<Info> {
        Ok(self.get(key)?.info)
    }

    /// All of them, by key.
    pub fn list(&self) -> Result<Vec<Info>> {
        self.adopt(&[])?;
        self.read(|rows| Ok(rows.list()?.into_iter().map(|row| row.info).collect()))
    }

    /// Gives it other labels.
    pub fn update(&self, key: &str, update: Labels, mask: Mask) -> Result<Info> {
        self.adopt(&[key])?;
        let key = key.to_owned();
        self.write(None, move |rows, _| {
            let mut row = rows.get(&key)?.ok_or(Refusal::Missing(key))?;
            row.info.labels =
                mask.apply(&row.info.labels, &update).map_err(|error| error.within("info.Labels"))?;
            Mapping::wanted(rows.client, &row.info.labels)?;
            row.info.updated_ns = now_ns();
            rows.insert(&row.info, &row.backend)?;
            Ok(Ok(row.info))
        })
    }

    /// The blocks and inodes that it takes, without its parents: of a committed one as they were then, of an active one as they
    /// are now, of a view none.
    pub fn usage(&self, key: &str) -> Result<Usage> {
        let row = self.get(key)?;
        match row.info.kind {
            Kind::View => return Ok(Usage::default()),
            Kind::Active => return snapshots::disk_usage(&self.upper(&row.backend)?),
            Kind::Committed => {}
        }
        let (machine, backend) = (self.backend.snapshotter().name(), row.backend);
        if let Some(usage) = self.space.store.db.read(|tx| snapshots::noted_usage(tx, machine, &backend))? {
            return Ok(usage);
        }
        let usage = snapshots::disk_usage(&self.upper(&backend)?)?;
        let note = move |tx: &Tx<'_>| snapshots::note_usage(tx, machine, &backend, usage);
        self.space.store.db.write(Commit::Ordered, note)?;
        Ok(usage)
    }

    /// Deletes the files of removed snapshots.
    pub fn cleanup(&self) -> Result<()> {
        self.backend.snapshotter().cleanup().map(drop)
    }

    fn create(&self, kind: Kind, key: &str, creation: Creation<'_>) -> Result<Vec<Mount>> {
        check_key(key)?;
        let labels = checked(creation.labels)?;
        let mapping = Mapping::wanted(self.name, &labels)?;
        let target = labels.get(TARGET_LABEL).cloned();
        let wanted: Vec<&str> = target.as_deref().into_iter().chain(creation.parent).collect();
        if !wanted.is_empty() {
            self.adopt(&wanted)?;
        }
        let base = self.read(|rows| match taken(rows, key, target.as_deref())? {
            // The transaction will tell.
            Some(_) => Ok(None),
            None => creation.parent.map(|parent| rows.base(parent)).transpose(),
        })?;
        let made = self.backend.draft(base.as_ref().map(|base| base.backend.as_str()))?;
        if let Some(mapping) = &mapping {
            mapping.give(&made.files())?;
        }
        let (number, new_key) = (made.number, key.to_owned());
        let parent = creation.parent.map(str::to_owned);
        self.write(creation.lease, move |rows, lease| {
            if let Some((key, refusal)) = taken(rows, &new_key, target.as_deref())? {
                lease.hold(rows, &key)?;
                return Ok(Err(refusal));
            }
            let below = parent.as_deref().map(|parent| rows.base(parent)).transpose()?;
            let below = below.as_ref().map(|row| row.backend.as_str());
            // Another one may have its name by now; the files were made for the one before.
            if below != base.as_ref().map(|base| base.backend.as_str()) {
                return Err(Refusal::MissingParent(parent.unwrap_or_default()).into());
            }
            let backend = rows.backend_of(&new_key);
            let row = NewRow { key: &backend, kind, parent: below, number, volatile: false };
            snapshots::insert_row(rows.tx, rows.machine, &row)?;
            let now = now_ns();
            let info = Info { key: new_key, parent, kind, created_ns: now, updated_ns: now, labels };
            rows.insert(&info, &backend)?;
            lease.hold(rows, &info.key)?;
            Ok(Ok(()))
        })?;
        made.keep();
        self.mounts(key)
    }

    /// A mount as containerd's snapshotter writes it.
    fn in_clients_form(&self, mut mount: Mount) -> Mount {
        match mount.kind.as_str() {
            // A client may mount twice what a container of its own still has mounted.
            "overlay" if Path::new(OVERLAY_INDEX).exists() => mount.options.push("index=off".into()),
            // Here the access comes last.
            "bind" if self.name == NATIVE => mount.options.reverse(),
            _ => {}
        }
        mount
    }

    fn get(&self, key: &str) -> Result<Row> {
        self.adopt(&[key])?;
        self.read(|rows| rows.get(key)?.ok_or_else(|| Refusal::Missing(key.to_owned()).into()))
    }

    fn upper(&self, backend: &str) -> Result<PathBuf> {
        Ok(self.backend.snapshotter().directories(backend)?.upper)
    }

    fn read<T>(&self, work: impl FnOnce(&Rows<'_>) -> Result<T>) -> Result<T> {
        let (client, machine) = (self.name, self.backend.snapshotter().name());
        let namespace = self.space.namespace;
        self.space.store.db.read(|tx| work(&Rows { tx, namespace, client, machine }))
    }

    /// Runs `work` in a transaction. What it refuses inside of `Ok` is committed first: the lease of what exists already.
    fn write<T: Send + 'static>(
        &self,
        lease: Option<&str>,
        work: impl FnOnce(&Rows<'_>, &Lease) -> Result<Result<T, Refusal>> + Send + 'static,
    ) -> Result<T> {
        let lease = Lease(lease.map(str::to_owned));
        let (client, machine) = (self.name, self.backend.snapshotter().name());
        let done = self.space.write(Commit::Ordered, move |tx, namespace| {
            work(&Rows { tx, namespace, client, machine }, &lease)
        })?;
        Ok(done?)
    }
}

/// The lease that a request names.
struct Lease(Option<String>);

impl Lease {
    fn hold(&self, rows: &Rows<'_>, key: &str) -> Result<()> {
        leases::hold(rows.tx, rows.namespace, self.0.as_deref(), &resource(rows, key))
    }

    fn release(&self, rows: &Rows<'_>, key: &str) -> Result<()> {
        leases::release(rows.tx, rows.namespace, self.0.as_deref(), &resource(rows, key))
    }
}

fn resource(rows: &Rows<'_>, key: &str) -> Resource {
    Resource::Snapshot { snapshotter: rows.client.to_owned(), key: key.to_owned() }
}

/// What exists already of what a client wants to make, and how it is told.
fn taken(rows: &Rows<'_>, key: &str, target: Option<&str>) -> Result<Option<(String, Refusal)>> {
    if let Some(target) = target
        && rows.get(target)?.is_some()
    {
        return Ok(Some((target.to_owned(), Refusal::TargetTaken(target.to_owned()))));
    }
    Ok(rows.get(key)?.map(|row| (row.info.key.clone(), Refusal::Taken(row.info.key))))
}

/// Whether an active snapshot may be committed, and what it is put on.
fn rebased(rows: &Rows<'_>, row: &Row, parent: Option<String>) -> Result<Option<Row>> {
    let key = row.info.key.clone();
    refuse_containers(rows, row)?;
    if row.info.kind != Kind::Active {
        return Err(Refusal::NotActive(key).into());
    }
    let Some(parent) = parent else { return Ok(None) };
    match &row.info.parent {
        Some(old) if *old == parent => return Ok(None),
        Some(_) => return Err(Refusal::OtherParent(key).into()),
        None if rows.client != OVERLAYFS => return Err(Refusal::CannotRebase(rows.client).into()),
        None => {}
    }
    let base = rows.get(&parent)?.ok_or_else(|| Refusal::MissingParent(parent.clone()))?;
    match base.info.kind {
        Kind::Committed => Ok(Some(base)),
        _ => Err(Refusal::BaseNotCommitted(parent).into()),
    }
}

/// A container's own layer is its owner's.
fn refuse_containers(rows: &Rows<'_>, row: &Row) -> Result<()> {
    if row.info.kind != Kind::Committed && !rows.is_own(&row.backend) {
        return Err(Refusal::OfContainer(row.info.key.clone()).into());
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0 => Err(Refusal::Key("must not be empty").into()),
        1..=identifier::KEY_MAX_BYTES => Ok(()),
        _ => Err(Refusal::Key("is too long").into()),
    }
}

/// The labels as they are stored.
fn checked(labels: Labels) -> Result<Labels> {
    labels::stored(labels).map_err(|error| error.within("info.Labels"))
}
