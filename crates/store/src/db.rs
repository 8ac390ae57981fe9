//! Metadata: an SQLite database in WAL mode, one writer, a few readers.
//!
//! One thread writes. It takes every request that waits, runs each in a savepoint of one transaction, so that a request that
//! fails does not fail its neighbours, and commits once. Two classes of commit:
//!
//! * [`Commit::Durable`]: the WAL is synced before the commit is acknowledged; it survives a power failure.
//! * [`Commit::Ordered`]: not synced. It survives a killed process, and after a power failure it is there whole or not at
//!   all, and never without what was committed before it.
//!
//! A batch with one durable request is synced for all of it. A damaged database is set aside and replaced by its backup,
//! or by an empty one; [`Origin`] says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::schema;

/// Requests that may wait for the writer; more make their callers wait in line.
const QUEUE: usize = 256;

/// Requests in one transaction: bounds the wait of the first of them.
const BATCH: usize = 64;

/// Readers kept open. More concurrent reads than this open a connection and close it again.
const READERS: usize = 4;

/// SQLite's page cache of each connection, in KiB: the database of a busy machine is a few megabytes.
const CACHE_KIB: i32 = 512;

/// Free pages of 4 KiB that the database keeps for deletions on a full disk.
const RESERVE_PAGES: i64 = 256;

/// The WAL is written back when it has so many pages; fewer than it holds in reserve.
const CHECKPOINT_PAGES: i64 = 200;

/// Only this process uses the database; a lock is only ever held for one commit.
const BUSY: Duration = Duration::from_secs(5);

/// How much of a commit must be on disk when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Durable,
    Ordered,
}

/// Where the records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// There was no database.
    New,
    /// The database was whole.
    Intact,
    /// The database was damaged; the last backup took its place.
    Backup { damaged: PathBuf },
    /// The database was damaged and there was no good backup.
    Lost { damaged: PathBuf },
}

/// A transaction, or a consistent view for reading.
#[derive(Debug)]
pub struct Tx<'a> {
    pub(crate) connection: &'a Connection,
}

/// Tells the caller how the commit went.
type Reply = Box<dyn FnOnce(Result<()>) + Send>;

/// What a request does in its savepoint.
type Work = Box<dyn FnOnce(Result<&Tx<'_>>) -> Option<Reply> + Send>;

/// A request to the writer. `run` gives the reply to send after the commit, or answers a failure at once and gives none.
struct Job {
    commit: Commit,
    run: Work,
}

/// The database, open.
#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
}

impl Db {
    /// Opens the database, replacing it if it is damaged.
    pub(crate) fn open(layout: &Layout) -> Result<(Db, Origin)> {
        let path = layout.database();
        let is_new = !path.exists();
        let (connection, origin) = match open_checked(&path) {
            Ok(connection) => (connection, if is_new { Origin::New } else { Origin::Intact }),
            Err(error @ (Error::DatabaseFull | Error::Newer { .. })) => return Err(error),
            Err(_) => replace(layout)?,
        };
        let (jobs, queue) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_loop(&connection, &queue))
            .map_err(|source| Error::file("start the writer of", &path, source))?;
        Ok((Db { path, jobs: Some(jobs), writer: Some(writer), readers: Mutex::default() }, origin))
    }

    /// Runs `work` in a transaction and waits for its commit.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        commit: Commit,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = sync_channel(1);
        let run = move |tx: Result<&Tx<'_>>| -> Option<Reply> {
            // A caller that has gone away does not want its answer.
            match tx.and_then(work) {
                Ok(value) => Some(Box::new(move |committed| drop(send.send(committed.map(|()| value))))),
                Err(error) => {
                    drop(send.send(Err(error)));
                    None
                }
            }
        };
        let jobs = self.jobs.as_ref().ok_or(Error::WriterGone)?;
        jobs.send(Job { commit, run: Box::new(run) }).map_err(|_| Error::WriterGone)?;
        receive.recv().map_err(|_| Error::WriterGone)?
    }

    /// Runs `work` on a consistent view.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let pooled = self.readers.lock().expect("no reader panics while it holds the pool").pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => open_connection(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = {
            let transaction = connection.unchecked_transaction()?;
            work(&Tx { connection: &transaction })
        };
        let mut readers = self.readers.lock().expect("no reader panics while it holds the pool");
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }

    /// Copies the database to `target`, durably.
    pub(crate) fn backup(&self, target: &Path) -> Result<()> {
        let temporary = target.with_extension("bak.new");
        let failed = |source| Error::file("back up to", target, source);
        match fs::remove_file(&temporary) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(failed(source)),
            _ => {}
        }
        let text = temporary.to_string_lossy().into_owned();
        self.read_connection(|connection| Ok(connection.execute("VACUUM INTO ?1", [&text])?))?;
        fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, target).map_err(failed)?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn read_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = open_connection(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        work(&connection)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed its callers.
            drop(writer.join());
        }
    }
}

fn open_connection(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn open_checked(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open_connection(path, flags)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Error::Record { what: verdict });
    }
    schema::migrate(&connection)?;
    reserve(&connection)?;
    Ok(connection)
}

/// Makes sure that the database and its WAL own some free space, so that deleting works on a full disk.
///
/// A row is written and deleted: its pages stay in the file's free list, and the WAL is reused from its beginning after
/// a checkpoint without ever shrinking.
fn reserve(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    if free < RESERVE_PAGES / 2 {
        connection
            .execute("INSERT INTO facts VALUES ('reserve', hex(zeroblob(?1)))", [RESERVE_PAGES * 2048])?;
        connection.execute("DELETE FROM facts WHERE name = 'reserve'", [])?;
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Sets the damaged database aside and opens the backup in its place, or an empty one.
fn replace(layout: &Layout) -> Result<(Connection, Origin)> {
    let path = layout.database();
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let damaged = path.with_file_name(format!("metadata.db.damaged-{seconds}"));
    fs::rename(&path, &damaged).map_err(|source| Error::file("set aside", &path, source))?;
    for suffix in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        // They belong to the damaged file and are not always there.
        drop(fs::remove_file(name));
    }
    if layout.backup().exists() && fs::copy(layout.backup(), &path).is_ok() {
        if let Ok(connection) = open_checked(&path) {
            return Ok((connection, Origin::Backup { damaged }));
        }
        fs::remove_file(&path).map_err(|source| Error::file("remove", &path, source))?;
    }
    Ok((open_checked(&path)?, Origin::Lost { damaged }))
}

fn write_loop(connection: &Connection, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        write_batch(connection, batch);
    }
}

fn write_batch(connection: &Connection, batch: Vec<Job>) {
    let is_durable = batch.iter().any(|job| job.commit == Commit::Durable);
    if let Err(error) = begin(connection, is_durable) {
        for job in batch {
            (job.run)(Err(same_error(&error)));
        }
        return;
    }
    let replies: Vec<Reply> = batch.into_iter().filter_map(|job| run_in_savepoint(connection, job)).collect();
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() && !connection.is_autocommit() {
        // The commit's own error is the one to report.
        drop(connection.execute_batch("ROLLBACK"));
    }
    for reply in replies {
        reply(match &committed {
            Ok(()) => Ok(()),
            Err(error) => Err(same_error(error)),
        });
    }
}

fn begin(connection: &Connection, is_durable: bool) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", if is_durable { "FULL" } else { "NORMAL" })?;
    connection.execute_batch("BEGIN IMMEDIATE")
}

/// Runs one job; one that fails is undone, and has been answered.
fn run_in_savepoint(connection: &Connection, job: Job) -> Option<Reply> {
    if let Err(error) = connection.execute_batch("SAVEPOINT job") {
        return (job.run)(Err(error.into()));
    }
    let Some(reply) = (job.run)(Ok(&Tx { connection })) else {
        // When the whole transaction is gone already, its commit fails and says so.
        drop(connection.execute_batch("ROLLBACK TO job; RELEASE job"));
        return None;
    };
    match connection.execute_batch("RELEASE job") {
        Ok(()) => Some(reply),
        Err(error) => {
            reply(Err(error.into()));
            None
        }
    }
}

/// SQLite's errors cannot be copied; every waiting caller gets one of the same kind.
fn same_error(error: &rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            rusqlite::Error::SqliteFailure(*failure, text.clone()).into()
        }
        other => Error::Record { what: other.to_string() },
    }
}
