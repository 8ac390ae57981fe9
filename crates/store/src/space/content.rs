//! Content of a namespace: the blobs that it knows, with labels of its own.
//!
//! A blob exists once, whatever number of namespaces know it. A namespace comes to know one by writing it ([`super::ingests`])
//! or because the engine stored it for an image of the namespace ([`adoption`]). Deleting it here makes the namespace forget it;
//! the bytes go with a collection, when nobody else has them.

mod adoption;

use std::fs::File;

use oci::digest::Digest;
use rusqlite::{OptionalExtension, Row, params};

use super::Space;
use super::labels::{self, Mask};
use super::leases::{self, Resource};
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::{Labels, from_json, to_json};

pub use adoption::UNCOMPRESSED;

/// What is listed at once.
const PAGE: usize = 100;

pub(crate) const COLUMNS: &str = "digest, size, created_ns, updated_ns, labels";

/// What a namespace knows of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub created_ns: i64,
    pub updated_ns: i64,
    pub labels: Labels,
}

/// The content of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its content.
    pub fn content(self) -> Content<'a> {
        Content(self)
    }
}

impl Content<'_> {
    /// What is known of a blob.
    ///
    /// # Errors
    /// `NotFound` for one that the namespace does not know, whether others do or not.
    pub fn info(&self, digest: &Digest) -> Result<Info> {
        self.find(digest)?.ok_or_else(|| missing(digest))
    }

    /// Whether the namespace knows the blob.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.find(digest)?.is_some())
    }

    /// Some of the blobs, by digest: those after `after`, or the first. None are left after an empty page.
    pub fn page(&self, after: Option<&Digest>) -> Result<Vec<Info>> {
        if after.is_none() {
            adoption::adopt(self.0)?;
        }
        let after = after.map_or("", Digest::as_str);
        self.0.store.db.read(|tx| {
            let mut statement = tx.connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM space_content WHERE namespace = ?1 AND digest > ?2 ORDER BY digest LIMIT {PAGE}"
            ))?;
            let rows = statement.query_map([self.0.namespace, after], |row| Ok(read(row)))?;
            rows.map(|row| row?).collect()
        })
    }

    /// Changes the labels that `mask` names to those of `update`.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Label`] for labels that are too large.
    pub fn update(&self, digest: &Digest, update: Labels, mask: Mask) -> Result<Info> {
        self.find(digest)?;
        let digest = digest.clone();
        self.0.write(Commit::Ordered, move |tx, namespace| {
            let old = get(tx, namespace, &digest)?.ok_or_else(|| missing(&digest))?;
            let new = Info { labels: mask.apply(&old.labels, &update)?, updated_ns: now_ns(), ..old };
            let sql =
                "UPDATE space_content SET updated_ns = ?3, labels = ?4 WHERE namespace = ?1 AND digest = ?2";
            let row = params![namespace, new.digest.as_str(), new.updated_ns, to_json(&new.labels)];
            tx.connection.prepare_cached(sql)?.execute(row)?;
            Ok(new)
        })
    }

    /// Makes the namespace forget a blob, and the lease that the request names. What an image of the engine needs stays, but is not
    /// shown any more.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, digest: &Digest, lease: Option<&str>) -> Result<()> {
        self.find(digest)?;
        let (digest, lease) = (digest.clone(), lease.map(str::to_owned));
        self.0.write(Commit::Durable, move |tx, namespace| {
            let sql = "DELETE FROM space_content WHERE namespace = ?1 AND digest = ?2";
            if tx.connection.prepare_cached(sql)?.execute([namespace, digest.as_str()])? == 0 {
                return Err(missing(&digest));
            }
            adoption::hide(tx, namespace, &digest)?;
            leases::release(tx, namespace, lease.as_deref(), &Resource::Content(digest))
        })
    }

    /// Opens a blob that the namespace knows.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn open(&self, digest: &Digest) -> Result<(Info, File)> {
        let info = self.info(digest)?;
        Ok((info, self.0.store.content().open_blob(digest)?))
    }

    /// The row; what the engine stored for an image has one from the first question on.
    fn find(&self, digest: &Digest) -> Result<Option<Info>> {
        let row = || self.0.store.db.read(|tx| get(tx, self.0.namespace, digest));
        if let Some(found) = row()? {
            return Ok(Some(found));
        }
        // It is asked for again even when there is nothing to adopt: another may have done it meanwhile.
        adoption::adopt(self.0)?;
        row()
    }
}

/// The row of a blob.
pub(super) fn get(tx: &Tx<'_>, namespace: &str, digest: &Digest) -> Result<Option<Info>> {
    let mut statement = tx.connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM space_content WHERE namespace = ?1 AND digest = ?2"
    ))?;
    statement.query_row([namespace, digest.as_str()], |row| Ok(read(row))).optional()?.transpose()
}

/// Makes the row of a blob that the namespace did not know.
pub(super) fn insert(tx: &Tx<'_>, namespace: &str, info: &Info) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(&format!(
        "INSERT INTO space_content (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    ))?;
    statement.execute(params![
        namespace,
        info.digest.as_str(),
        i64::try_from(info.size).unwrap_or(i64::MAX),
        info.created_ns,
        info.updated_ns,
        to_json(&info.labels)
    ])?;
    adoption::show(tx, namespace, &info.digest)
}

/// The row of a blob that has just come to be known.
pub(super) fn fresh(digest: Digest, size: u64, labels: Labels) -> Result<Info> {
    let now = now_ns();
    Ok(Info { digest, size, created_ns: now, updated_ns: now, labels: labels::stored(labels)? })
}

pub(crate) fn read(row: &Row<'_>) -> Result<Info> {
    let digest: String = row.get(0)?;
    let labels = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Info {
        digest: Digest::parse(&digest)
            .map_err(|error| Error::Record { what: format!("content: {error}") })?,
        size: row
            .get::<_, i64>(1)?
            .try_into()
            .map_err(|_| Error::Record { what: "content: its size".into() })?,
        created_ns: row.get(2)?,
        updated_ns: row.get(3)?,
        labels: from_json("labels of content", labels)?,
    })
}

pub(super) fn missing(digest: &Digest) -> Error {
    Error::NotFound { kind: "content", name: digest.to_string() }
}
