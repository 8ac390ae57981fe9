//! Ingests: blobs that clients of a namespace are writing, each under a *ref* that the client chose.
//!
//! ```text
//!            open                    write, restart                 commit
//!   (none) ───────▶ a row  ─ open ─▶  Writer: Own  ───────────────────────▶ content of the namespace
//!             │        ▲              │         ▲                               ▲
//!             │        └─ drop ───────┘         │ write, restart: copied first  │
//!             └─ somebody has the blob ─▶ Writer: Shared ───────────────────────┘
//! ```
//!
//! The bytes are in `content/uploads/<upload>/data`; how many there are is the file's length. Together with `expected` of the row
//! it tells the state, whatever was killed: *with a file* the file is what was written; *without one* the blob `expected` is;
//! without both nothing was. So a commit notes the digest in the row before the file becomes the blob, and the copy of a
//! shared blob gets its name when it is whole. A row comes before its directory and goes before it: directories without a row
//! are removed.
//!
//! A ref has one writer at a time, which is known to this process only. What clients see is containerd's (`core/metadata/content.go`,
//! `plugins/content/local`).

mod uploads;
mod writer;

use oci::digest::Digest;
use rusqlite::{OptionalExtension, Row, params};

use super::content::{self, Info};
use super::leases::{self, Resource};
use super::{Space, labels};
use crate::clock::now_ns;
use crate::content::Blob;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::Labels;

pub(crate) use uploads::Uploads;
pub use writer::Writer;

/// containerd's database has no longer keys.
const REF_MAX_BYTES: usize = 32 << 10;

/// An ingest without a lease is kept for a day.
const LIFETIME_NS: i64 = 24 * 60 * 60 * 1_000_000_000;

pub(crate) const COLUMNS: &str = "ref, upload, total, expected, started_ns, updated_ns";

/// How far an ingest has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub reference: String,
    /// The bytes that are there.
    pub offset: u64,
    /// The bytes that there will be; 0 when nobody said.
    pub total: u64,
    pub started_ns: i64,
    pub updated_ns: i64,
}

/// What a client announces of a blob that it is going to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announced<'a> {
    pub reference: &'a str,
    /// In bytes; 0 when it is not known.
    pub total: u64,
    pub expected: Option<&'a Digest>,
    pub lease: Option<&'a str>,
}

/// What a client says of a blob that it has written.
#[derive(Debug, Clone, Default)]
pub struct Finished<'a> {
    /// In bytes; 0 when it is not known.
    pub size: u64,
    pub expected: Option<&'a Digest>,
    pub labels: Labels,
    pub lease: Option<&'a str>,
}

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    reference: String,
    upload: String,
    total: u64,
    expected: Option<Digest>,
    started_ns: i64,
    updated_ns: i64,
}

/// The ingests of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Ingests<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its ingests.
    pub fn ingests(self) -> Ingests<'a> {
        Ingests(self)
    }
}

impl Ingests<'_> {
    /// How far one has come.
    ///
    /// # Errors
    /// `NotFound`, also for one of which nothing is written because another namespace has the blob.
    pub fn status(&self, reference: &str) -> Result<Status> {
        let row = self.0.store.db.read(|tx| get(tx, self.0.namespace, reference))?;
        let status = row.map(|row| self.0.store.uploads.status(row)).transpose()?.flatten();
        status.ok_or_else(|| missing(reference))
    }

    /// All of which something can be written, by ref.
    pub fn list(&self) -> Result<Vec<Status>> {
        let rows = self.0.store.db.read(|tx| {
            let sql = format!("SELECT {COLUMNS} FROM space_ingests WHERE namespace = ?1 ORDER BY ref");
            let mut statement = tx.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([self.0.namespace], |row| Ok(read(row)))?;
            rows.map(|row| row?).collect::<Result<Vec<_>>>()
        })?;
        let statuses = rows.into_iter().map(|row| self.0.store.uploads.status(row));
        Ok(statuses.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Begins or goes on with an ingest. What is there is read once, for its digest.
    ///
    /// # Errors
    /// `AlreadyExists` when the namespace has the expected blob: the lease holds it then. [`Error::Writing`] when the ref has a writer.
    pub fn open(&self, announced: Announced<'_>) -> Result<Writer> {
        if announced.reference.is_empty() || announced.reference.len() > REF_MAX_BYTES {
            let why = format!("a ref has between 1 and {REF_MAX_BYTES} bytes");
            return Err(Error::Invalid { why });
        }
        // What is asked for first is adopted.
        announced.expected.map(|digest| self.0.content().has(digest)).transpose()?;
        let lock = self.0.store.uploads.lock(self.0.namespace, announced.reference);
        // Nobody takes the blob away between the look at it and the row that holds it.
        let _pin = announced.expected.map(|digest| self.0.store.content().pin(digest));
        let blob_of = |digest: &Digest| self.0.store.content().info(digest);
        let shared = announced.expected.map(blob_of).transpose()?.flatten();
        let row = self.begin(&announced, shared.as_ref(), lock.as_ref().err().copied())?;
        let lock = lock.expect("a ref that was locked is not begun");
        // One that was killed while it became a blob goes on as that blob.
        let blob = match (&row.expected, self.0.store.uploads.has_data(&row.upload)) {
            (Some(digest), false) => blob_of(digest)?,
            _ => shared,
        };
        let mut writer = match blob {
            Some(blob) => {
                let file = self.0.store.content().open_blob(&blob.digest)?;
                Writer::shared(lock, self.0.store.uploads.folder(&row.upload), row, blob, file)
            }
            None => {
                let algorithm = announced.expected.map(Digest::algorithm).unwrap_or_default();
                Writer::own(lock, self.0.store.uploads.folder(&row.upload), row, algorithm)?
            }
        };
        if announced.total > 0 && writer.total() > 0 && announced.total != writer.total() {
            self.restart(&mut writer, announced.total)?;
        }
        Ok(writer)
    }

    /// Makes what was written content of the namespace. The writer is at its end also when that fails, but what it wrote is kept,
    /// unless the namespace has the blob already.
    ///
    /// # Errors
    /// [`Error::CommitSize`] and [`Error::CommitDigest`] when it is not what was expected; `AlreadyExists`; `NotFound` when the
    /// ingest was aborted meanwhile.
    pub fn commit(&self, mut writer: Writer, finished: Finished<'_>) -> Result<Info> {
        let labels = labels::stored(finished.labels)?;
        let blob = writer.check(finished.size, finished.expected)?;
        let pin = self.0.store.content().pin(&blob.digest);
        if let Some(file) = writer.file() {
            self.note_digest(&writer, &blob.digest)?;
            self.0.store.content().publish(file, &writer.data(), &blob)?;
        }
        let known = self.finish(&writer, content::fresh(blob.digest, blob.size, labels)?, finished.lease);
        drop(pin);
        let (info, is_known) = known?;
        writer.end();
        self.0.store.uploads.remove(writer.upload());
        if is_known {
            return Err(Error::AlreadyExists { kind: "content", name: info.digest.to_string() });
        }
        Ok(info)
    }

    /// Gives up an ingest with what was written of it. One that has a writer goes, too; the writer cannot commit.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn abort(&self, reference: &str, lease: Option<&str>) -> Result<()> {
        let (reference, lease) = (reference.to_owned(), lease.map(str::to_owned));
        let row = self.0.write(Commit::Ordered, move |tx, namespace| {
            let row = get(tx, namespace, &reference)?.ok_or_else(|| missing(&reference))?;
            delete(tx, namespace, &reference, &row.upload)?;
            leases::release(tx, namespace, lease.as_deref(), &Resource::Ingest(reference))?;
            Ok(row)
        })?;
        self.0.store.uploads.remove(&row.upload);
        Ok(())
    }

    /// Makes or changes the row; not while another writer has the ref, which is known since `locked_ns`.
    fn begin(
        &self,
        announced: &Announced<'_>,
        shared: Option<&Blob>,
        locked_ns: Option<i64>,
    ) -> Result<Ingest> {
        let wanted = Wanted {
            reference: announced.reference.to_owned(),
            expected: announced.expected.cloned(),
            lease: announced.lease.map(str::to_owned),
            shared: shared.map(|blob| blob.digest.clone()),
            total: shared.map_or(announced.total, |blob| blob.size),
            upload: self.0.store.uploads.name(),
            locked_ns,
        };
        let begun = self.0.write(Commit::Ordered, move |tx, namespace| wanted.begin(tx, namespace))?;
        begun.ok_or_else(|| already(announced.expected))
    }

    /// Nothing of what is there belongs to a blob of that size.
    fn restart(&self, writer: &mut Writer, total: u64) -> Result<()> {
        writer.restart()?;
        writer.set_total(total);
        let (upload, now) = (writer.upload().to_owned(), now_ns());
        self.0.write(Commit::Ordered, move |tx, _| {
            let sql =
                "UPDATE space_ingests SET total = ?2, started_ns = ?3, updated_ns = ?3 WHERE upload = ?1";
            tx.connection.prepare_cached(sql)?.execute(params![upload, to_column(total), now])?;
            Ok(())
        })
    }

    /// From here on the row holds the blob that the file becomes.
    fn note_digest(&self, writer: &Writer, digest: &Digest) -> Result<()> {
        let (reference, upload, digest) =
            (writer.reference().to_owned(), writer.upload().to_owned(), digest.to_string());
        self.0.write(Commit::Ordered, move |tx, namespace| {
            let sql =
                "UPDATE space_ingests SET expected = ?4 WHERE namespace = ?1 AND ref = ?2 AND upload = ?3";
            match tx.connection.prepare_cached(sql)?.execute([namespace, &reference, &upload, &digest])? {
                0 => Err(missing(&reference)),
                _ => Ok(()),
            }
        })
    }

    /// The row of the ingest becomes one of the content; whether the namespace knew it.
    fn finish(&self, writer: &Writer, info: Info, lease: Option<&str>) -> Result<(Info, bool)> {
        let (reference, upload) = (writer.reference().to_owned(), writer.upload().to_owned());
        let lease = lease.map(str::to_owned);
        self.0.write(Commit::Durable, move |tx, namespace| {
            if !delete(tx, namespace, &reference, &upload)? {
                return Err(missing(&reference));
            }
            leases::release(tx, namespace, lease.as_deref(), &Resource::Ingest(reference))?;
            leases::hold(tx, namespace, lease.as_deref(), &Resource::Content(info.digest.clone()))?;
            let is_known = content::get(tx, namespace, &info.digest)?.is_some();
            if !is_known {
                content::insert(tx, namespace, &info)?;
            }
            Ok((info, is_known))
        })
    }
}

/// What the row must be.
struct Wanted {
    reference: String,
    expected: Option<Digest>,
    lease: Option<String>,
    shared: Option<Digest>,
    total: u64,
    upload: String,
    locked_ns: Option<i64>,
}

impl Wanted {
    /// Makes or changes the row; none when the namespace has the blob.
    fn begin(self, tx: &Tx<'_>, namespace: &str) -> Result<Option<Ingest>> {
        let lease = self.lease.as_deref();
        if let Some(digest) = &self.expected
            && content::get(tx, namespace, digest)?.is_some()
        {
            leases::hold(tx, namespace, lease, &Resource::Content(digest.clone()))?;
            return Ok(None);
        }
        let before = get(tx, namespace, &self.reference)?;
        if let Some(since_ns) = self.locked_ns {
            let upload = before.map(|row| row.upload).unwrap_or_default();
            let reference = format!("{namespace}/{upload}/{}", self.reference);
            return Err(Error::Writing { reference, since_ns });
        }
        leases::hold(tx, namespace, lease, &Resource::Ingest(self.reference.clone()))?;
        let expires_ns = lease.is_none().then(|| now_ns().saturating_add(LIFETIME_NS));
        let row = self.row(before);
        let mut statement = tx.connection.prepare_cached(&format!(
            "INSERT INTO space_ingests (namespace, {COLUMNS}, expires_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (namespace, ref) DO UPDATE SET
             expected = excluded.expected, expires_ns = coalesce(excluded.expires_ns, expires_ns)"
        ))?;
        statement.execute(params![
            namespace,
            row.reference,
            row.upload,
            to_column(row.total),
            row.expected.as_ref().map_or("", Digest::as_str),
            row.started_ns,
            row.updated_ns,
            expires_ns
        ])?;
        Ok(Some(row))
    }

    fn row(self, before: Option<Ingest>) -> Ingest {
        let now = now_ns();
        match before {
            None => Ingest {
                reference: self.reference,
                upload: self.upload,
                total: self.total,
                expected: self.shared,
                started_ns: now,
                updated_ns: now,
            },
            Some(row) => {
                // A client that expects nothing in particular goes on with what is there.
                let kept = row.expected.filter(|_| self.expected.is_none());
                Ingest { expected: self.shared.or(kept), ..row }
            }
        }
    }
}

fn get(tx: &Tx<'_>, namespace: &str, reference: &str) -> Result<Option<Ingest>> {
    let sql = format!("SELECT {COLUMNS} FROM space_ingests WHERE namespace = ?1 AND ref = ?2");
    let mut statement = tx.connection.prepare_cached(&sql)?;
    statement.query_row([namespace, reference], |row| Ok(read(row))).optional()?.transpose()
}

/// Removes the row; whether it was there.
fn delete(tx: &Tx<'_>, namespace: &str, reference: &str, upload: &str) -> Result<bool> {
    let sql = "DELETE FROM space_ingests WHERE namespace = ?1 AND ref = ?2 AND upload = ?3";
    Ok(tx.connection.prepare_cached(sql)?.execute([namespace, reference, upload])? == 1)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Ingest> {
    let damaged = |what: &str| Error::Record { what: format!("ingest: {what}") };
    let expected: String = row.get(3)?;
    let expected = (!expected.is_empty()).then(|| Digest::parse(&expected)).transpose();
    let upload: String = row.get(1)?;
    // It becomes a file name.
    if !upload.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') || upload.is_empty() {
        return Err(damaged("its directory"));
    }
    Ok(Ingest {
        reference: row.get(0)?,
        upload,
        total: row.get::<_, i64>(2)?.try_into().map_err(|_| damaged("its total"))?,
        expected: expected.map_err(|error| damaged(&error.to_string()))?,
        started_ns: row.get(4)?,
        updated_ns: row.get(5)?,
    })
}

fn to_column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn missing(reference: &str) -> Error {
    Error::NotFound { kind: "ingest", name: reference.to_owned() }
}

fn already(expected: Option<&Digest>) -> Error {
    Error::AlreadyExists { kind: "content", name: expected.map(Digest::to_string).unwrap_or_default() }
}
