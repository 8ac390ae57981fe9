//! Leases of containerd's clients: each holds content, ingests, images and snapshots of its namespace until it is deleted or
//! its time (`containerd.io/gc.expire`) is over.
//!
//! A request that names a lease adds what it makes to it, in the transaction that makes it ([`hold`]). A lease may name what
//! is not there yet, or no more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use oci::digest::Digest;
use rusqlite::{Row, params};

use super::table::Table;
use super::{Space, identifier, labels};
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::{Labels, found, from_json, to_json, unique};

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: String,
    pub created_ns: i64,
    pub labels: Labels,
}

/// What a lease holds. Resources are ordered as containerd lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Content(Digest),
    Image(String),
    /// By its ref.
    Ingest(String),
    /// The snapshotter is called as clients call it.
    Snapshot {
        snapshotter: String,
        key: String,
    },
}

pub(crate) const COLUMNS: &str = "id, created_ns, labels";

const TABLE: Table<Lease> = Table { name: "space_leases", columns: COLUMNS, kind: "lease", read };

/// Random bytes in the id of a lease that its client does not name.
const ID_BYTES: usize = 3;

impl Resource {
    /// A resource as clients write it: type and id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a type that is not written as it must be, and for what is not a digest;
    /// [`Error::Unsupported`] for another type.
    pub fn parse(kind: &str, id: &str) -> Result<Resource> {
        identifier::check_key("the type of a resource", kind)?;
        let resource = match kind.split('/').collect::<Vec<_>>().as_slice() {
            ["content"] => identifier::digest(id)
                .map(Resource::Content)
                .map_err(|why| Error::Invalid { why: format!("invalid content resource id {id}: {why}") })?,
            ["images"] => Resource::Image(id.to_owned()),
            ["ingests"] => Resource::Ingest(id.to_owned()),
            ["snapshots", snapshotter] if !snapshotter.is_empty() => {
                Resource::Snapshot { snapshotter: (*snapshotter).to_owned(), key: id.to_owned() }
            }
            ["content" | "images" | "ingests", ..] => {
                return Err(Error::Invalid { why: format!("invalid resource type {kind}") });
            }
            ["snapshots", ..] => {
                return Err(Error::Invalid { why: format!("invalid snapshot resource type {kind}") });
            }
            _ => return Err(Error::Unsupported { what: format!("resource type {kind} not supported yet") }),
        };
        if id.is_empty() {
            return Err(Error::Invalid { why: format!("resource of type {kind} without an id") });
        }
        identifier::check_key("the id of a resource", id)?;
        Ok(resource)
    }

    /// Its type, as clients write it.
    pub fn kind(&self) -> String {
        match self {
            Resource::Content(_) => "content".into(),
            Resource::Image(_) => "images".into(),
            Resource::Ingest(_) => "ingests".into(),
            Resource::Snapshot { snapshotter, .. } => format!("snapshots/{snapshotter}"),
        }
    }

    /// What it is called among those of its type.
    pub fn id(&self) -> &str {
        match self {
            Resource::Content(digest) => digest.as_str(),
            Resource::Image(id) | Resource::Ingest(id) | Resource::Snapshot { key: id, .. } => id,
        }
    }
}

/// The leases of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Leases<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its leases.
    pub fn leases(self) -> Leases<'a> {
        Leases(self)
    }
}

impl Leases<'_> {
    /// Makes a lease; without an id it gets one.
    ///
    /// # Errors
    /// `AlreadyExists` for the id.
    pub fn create(&self, id: Option<&str>, labels: Labels) -> Result<Lease> {
        let id = id.map_or_else(random_id, str::to_owned);
        identifier::check_key("the id of a lease", &id)?;
        let lease = Lease { id, created_ns: now_ns(), labels: labels::stored(labels)? };
        self.0.write(Commit::Durable, move |tx, namespace| {
            let mut statement = tx.connection.prepare_cached(&format!(
                "INSERT INTO space_leases (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4)"
            ))?;
            let row = params![namespace, lease.id, lease.created_ns, to_json(&lease.labels)];
            unique(statement.execute(row), "lease", &lease.id)?;
            Ok(lease)
        })
    }

    /// Ends a lease; what it held alone goes with the next collection.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.0.write(Commit::Durable, move |tx, namespace| found(delete(tx, namespace, &id)?, "lease", &id))
    }

    /// All, by id.
    pub fn list(&self) -> Result<Vec<Lease>> {
        self.0.store.db.read(|tx| TABLE.list(tx, self.0.namespace))
    }

    /// Lets a lease hold a resource, which need not exist: `kind` and `id` are as clients write them.
    ///
    /// # Errors
    /// `NotFound` for the lease, whatever the resource; those of [`Resource::parse`].
    pub fn add(&self, lease: &str, kind: &str, id: &str) -> Result<()> {
        self.with(lease, kind, id, insert)
    }

    /// Takes a resource from a lease; one that it does not hold is no error.
    ///
    /// # Errors
    /// As [`Leases::add`].
    pub fn remove(&self, lease: &str, kind: &str, id: &str) -> Result<()> {
        self.with(lease, kind, id, |tx, namespace, lease, resource| {
            release(tx, namespace, Some(lease), resource)
        })
    }

    /// What is wrong with the lease is told before what is wrong with the resource.
    fn with(
        &self,
        lease: &str,
        kind: &str,
        id: &str,
        work: fn(&Tx<'_>, &str, &str, &Resource) -> Result<()>,
    ) -> Result<()> {
        let (lease, resource) = (lease.to_owned(), Resource::parse(kind, id));
        self.0.write(Commit::Ordered, move |tx, namespace| {
            require(tx, namespace, &lease)?;
            work(tx, namespace, &lease, &resource?)
        })
    }

    /// What a lease holds.
    ///
    /// # Errors
    /// `NotFound` for the lease.
    pub fn resources(&self, id: &str) -> Result<Vec<Resource>> {
        self.0.store.db.read(|tx| {
            require(tx, self.0.namespace, id)?;
            let mut statement = tx
                .connection
                .prepare_cached("SELECT kind, id FROM space_leased WHERE namespace = ?1 AND lease = ?2")?;
            let rows = statement.query_map([self.0.namespace, id], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let resources = rows.map(|row| {
                let (kind, id) = row?;
                Resource::parse(&kind, &id)
            });
            let mut resources = resources.collect::<Result<Vec<_>>>()?;
            resources.sort();
            Ok(resources)
        })
    }
}

/// Adds what a request makes to the lease that it names, if it names one.
///
/// # Errors
/// [`Error::NoLease`]: it must exist.
pub fn hold(tx: &Tx<'_>, namespace: &str, lease: Option<&str>, resource: &Resource) -> Result<()> {
    let Some(lease) = lease else { return Ok(()) };
    if !TABLE.has(tx, namespace, lease)? {
        return Err(Error::NoLease { id: lease.to_owned() });
    }
    insert(tx, namespace, lease, resource)
}

/// Takes what a request deletes from the lease that it names. Other leases go on naming it, and hold it again if it is made
/// again.
pub fn release(tx: &Tx<'_>, namespace: &str, lease: Option<&str>, resource: &Resource) -> Result<()> {
    let Some(lease) = lease else { return Ok(()) };
    let mut statement = tx.connection.prepare_cached(
        "DELETE FROM space_leased WHERE namespace = ?1 AND lease = ?2 AND kind = ?3 AND id = ?4",
    )?;
    statement.execute([namespace, lease, &resource.kind(), resource.id()])?;
    Ok(())
}

/// Removes a lease and what it names; how many there were.
pub(crate) fn delete(tx: &Tx<'_>, namespace: &str, id: &str) -> Result<usize> {
    let mut held =
        tx.connection.prepare_cached("DELETE FROM space_leased WHERE namespace = ?1 AND lease = ?2")?;
    held.execute([namespace, id])?;
    TABLE.remove(tx, namespace, id)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Lease> {
    let labels = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Lease { id: row.get(0)?, created_ns: row.get(1)?, labels: from_json("labels of a lease", labels)? })
}

fn require(tx: &Tx<'_>, namespace: &str, id: &str) -> Result<()> {
    found(usize::from(TABLE.has(tx, namespace, id)?), "lease", id)
}

fn insert(tx: &Tx<'_>, namespace: &str, lease: &str, resource: &Resource) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(
        "INSERT OR IGNORE INTO space_leased (namespace, lease, kind, id) VALUES (?1, ?2, ?3, ?4)",
    )?;
    statement.execute([namespace, lease, &resource.kind(), resource.id()])?;
    Ok(())
}

/// Nanoseconds of the second and some letters, as containerd's clients make them.
fn random_id() -> String {
    let mut bytes = [0; ID_BYTES];
    let mut filled = 0;
    while filled < ID_BYTES {
        // The kernel's pool is ready long before a daemon starts.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    format!("{}-{}", now_ns() % 1_000_000_000, URL_SAFE.encode(bytes).replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::Resource;

    #[test]
    fn a_resource_is_its_type_and_id() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (kind, id) in [
            ("content", digest.as_str()),
            ("images", "a/b:c"),
            ("ingests", "layer-1"),
            ("snapshots/overlayfs", "k/1"),
        ] {
            let resource = Resource::parse(kind, id).unwrap();
            assert_eq!((resource.kind().as_str(), resource.id()), (kind, id));
        }
        for (kind, id, wrong) in [
            ("content", "x", "invalid content resource id x: invalid checksum digest format"),
            ("content", "sha256:aa", "invalid content resource id sha256:aa: invalid checksum digest length"),
            ("content", "md5:aa", "invalid content resource id md5:aa: unsupported digest algorithm"),
            ("content/x", "x", "invalid resource type content/x"),
            ("snapshots", "x", "invalid snapshot resource type snapshots"),
            ("snapshots/", "x", "invalid snapshot resource type snapshots/"),
            ("ingests", "", "resource of type ingests without an id"),
            ("snapshots/a/b", "x", "invalid snapshot resource type snapshots/a/b"),
            ("mounts", "x", "resource type mounts not supported yet"),
        ] {
            let error = Resource::parse(kind, id).unwrap_err().to_string();
            assert!(error.starts_with(wrong), "{kind}: {error}");
        }
    }
}
