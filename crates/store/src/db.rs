//! Metadata: an SQLite database in WAL mode, one writer, a few readers.
//!
//! One thread writes. It takes every request that waits, runs each in a savepoint of one transaction, so that a request that
//! fails does not fail its neighbours, and commits once. Two classes of commit:
//!
//! * [`Commit::Durable`]: the WAL is synced before the commit is acknowledged; it survives a power failure.
//! * [`Commit::Ordered`]: not synced. It survives a killed process, and after a power failure it is there whole or not at
//!   all, and never without what was committed before it.
//!
//! A batch with one durable request is synced for all of it. The WAL is written back when it is long or nothing is to do,
//! after the answers. A damaged database is set aside and replaced by its backup, or by an empty one; [`Origin`] says so.

mod file;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::layout::Layout;
use file::Opened;

/// Requests that may wait for the writer; more make their callers wait in line.
const QUEUE: usize = 256;

/// Requests in one transaction: bounds the wait of the first of them.
const BATCH: usize = 64;

/// Readers kept open. More concurrent reads than this open a connection and close it again.
const READERS: usize = 4;

/// SQLite's page cache of each connection, in KiB: the database of a busy machine is a few megabytes.
const CACHE_KIB: i32 = 512;

/// SQLite's default, and a page of the kernel's cache.
const PAGE_BYTES: u64 = 4096;

/// The WAL is written back within a commit when it has so many pages: a burst that never pauses must not make it endless.
const CHECKPOINT_PAGES: u32 = 768;

/// The WAL is written back, outside of any commit, when nobody has written for so long.
const IDLE: Duration = Duration::from_secs(1);

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

impl Job {
    /// The request, and where its answer will be.
    fn new<T: Send + 'static>(
        commit: Commit,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> (Job, Receiver<Result<T>>) {
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
        (Job { commit, run: Box::new(run) }, receive)
    }
}

/// The database, open.
#[derive(Debug)]
pub(crate) struct Db {
    layout: Layout,
    path: PathBuf,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
}

impl Db {
    /// Opens the database, replacing it if it is damaged; also tells what was wrong with rows that had to go.
    pub(crate) fn open(layout: &Layout) -> Result<(Db, Origin, Vec<String>)> {
        let path = layout.database();
        let Opened { connection, origin, damaged_rows } = file::open(layout)?;
        let (jobs, queue) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || Writer { connection, is_full: None, is_dirty: true }.run(&queue))
            .map_err(|source| Error::file("start the writer of", &path, source))?;
        let (layout, readers) = (layout.clone(), Mutex::default());
        Ok((Db { layout, path, jobs: Some(jobs), writer: Some(writer), readers }, origin, damaged_rows))
    }

    /// Runs `work` in a transaction and waits for its commit.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        commit: Commit,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writer = self.writer.as_ref().ok_or(Error::WriterGone)?.thread().id();
        if std::thread::current().id() == writer {
            return Err(Error::WriteInWrite);
        }
        let (job, receive) = Job::new(commit, work);
        let jobs = self.jobs.as_ref().ok_or(Error::WriterGone)?;
        jobs.send(job).map_err(|_| Error::WriterGone)?;
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

    /// Copies the database to its backup, durably.
    pub(crate) fn backup(&self) -> Result<()> {
        file::back_up(&self.path, &self.layout.backup())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // The writer closes last: only it can write the WAL back and remove it.
        if let Ok(readers) = self.readers.get_mut() {
            readers.clear();
        }
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already failed its callers.
            drop(writer.join());
        }
        // On a full disk the WAL's blocks, which are free now, are what the next open takes.
        file::keep_reserve(&self.layout);
    }
}

fn open_connection(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The one that writes, in its thread.
struct Writer {
    connection: Connection,
    /// Whether commits are synced at the moment.
    is_full: Option<bool>,
    /// Whether the WAL holds what the database does not.
    is_dirty: bool,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = if self.is_dirty {
                queue.recv_timeout(IDLE)
            } else {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match first {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(queue.try_iter().take(BATCH - 1));
                    self.write(batch);
                    self.is_dirty = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    // A failure is met again by the commit for which the WAL has no more room.
                    drop(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
                    self.is_dirty = false;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        let is_durable = batch.iter().any(|job| job.commit == Commit::Durable);
        if let Err(error) = self.begin(is_durable) {
            for job in batch {
                (job.run)(Err(same_error(&error)));
            }
            return;
        }
        let replies: Vec<Reply> = batch.into_iter().filter_map(|job| self.run_in_savepoint(job)).collect();
        if self.connection.is_autocommit() {
            replies.into_iter().for_each(|reply| reply(Err(Error::TransactionLost)));
            return;
        }
        let committed = self.execute("COMMIT");
        if committed.is_err() && !self.connection.is_autocommit() {
            // The commit's own error is the one to report.
            drop(self.execute("ROLLBACK"));
        }
        for reply in replies {
            reply(committed.as_ref().copied().map_err(same_error));
        }
    }

    fn begin(&mut self, is_durable: bool) -> rusqlite::Result<()> {
        if self.is_full != Some(is_durable) {
            let level = if is_durable { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.is_full = Some(is_durable);
        }
        self.execute("BEGIN IMMEDIATE")
    }

    /// Runs one job; one that fails is undone, and has been answered.
    fn run_in_savepoint(&self, job: Job) -> Option<Reply> {
        if self.connection.is_autocommit() {
            // A full disk or a failing one ended the transaction under a neighbour. A savepoint would begin another one,
            // and commit what its caller is going to be told has failed.
            return (job.run)(Err(Error::TransactionLost));
        }
        if let Err(error) = self.execute("SAVEPOINT job") {
            return (job.run)(Err(error.into()));
        }
        let Some(reply) = (job.run)(Ok(&Tx { connection: &self.connection })) else {
            let undone = self.execute("ROLLBACK TO job").and_then(|()| self.execute("RELEASE job"));
            if undone.is_err() && !self.connection.is_autocommit() {
                // Rather nothing of the batch than a piece of what failed.
                drop(self.execute("ROLLBACK"));
            }
            return None;
        };
        match self.execute("RELEASE job") {
            Ok(()) => Some(reply),
            Err(error) => {
                reply(Err(error.into()));
                None
            }
        }
    }

    fn execute(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
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

#[cfg(test)]
mod tests {
    use super::{Commit, Job, Tx, Writer, file};
    use crate::error::{Error, Result};
    use crate::layout::Layout;

    fn insert(name: &'static str) -> impl FnOnce(&Tx<'_>) -> Result<()> + Send {
        move |tx| {
            tx.connection.execute("INSERT INTO facts VALUES (?1, '')", [name])?;
            Ok(())
        }
    }

    fn facts(writer: &Writer) -> Vec<String> {
        let sql = "SELECT name FROM facts WHERE name LIKE 'test-%' ORDER BY name";
        let mut statement = writer.connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(|row| row.unwrap()).collect()
    }

    #[test]
    fn when_a_neighbour_loses_the_transaction_nobody_is_told_a_lie() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let connection = file::open(&layout).unwrap().connection;
        let mut writer = Writer { connection, is_full: None, is_dirty: false };
        let (before, told_before) = Job::new(Commit::Ordered, insert("test-before"));
        // What SQLite does by itself when the disk is full at the wrong moment.
        let (fatal, told_fatal) = Job::new(Commit::Ordered, |tx| -> Result<()> {
            tx.connection.execute_batch("ROLLBACK")?;
            Err(Error::DatabaseFull)
        });
        let (after, told_after) = Job::new(Commit::Durable, insert("test-after"));
        writer.write(vec![before, fatal, after]);
        assert!(matches!(told_before.recv().unwrap(), Err(Error::TransactionLost)));
        assert!(matches!(told_fatal.recv().unwrap(), Err(Error::DatabaseFull)));
        assert!(matches!(told_after.recv().unwrap(), Err(Error::TransactionLost)));
        assert!(facts(&writer).is_empty(), "what was told to have failed is not there");
        let (again, told_again) = Job::new(Commit::Ordered, insert("test-again"));
        writer.write(vec![again]);
        told_again.recv().unwrap().unwrap();
        assert_eq!(facts(&writer), ["test-again"], "the writer goes on");
    }

    #[test]
    fn one_batch_is_one_commit_and_only_what_failed_is_undone() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let connection = file::open(&layout).unwrap().connection;
        let mut writer = Writer { connection, is_full: None, is_dirty: false };
        let (first, told_first) = Job::new(Commit::Ordered, insert("test-1"));
        let (wrong, told_wrong) = Job::new(Commit::Ordered, |tx| {
            insert("test-2")(tx)?;
            // It is there already.
            insert("test-1")(tx)
        });
        let (last, told_last) = Job::new(Commit::Durable, insert("test-3"));
        writer.write(vec![first, wrong, last]);
        told_first.recv().unwrap().unwrap();
        assert!(told_wrong.recv().unwrap().is_err());
        told_last.recv().unwrap().unwrap();
        assert_eq!(facts(&writer), ["test-1", "test-3"]);
        assert_eq!(writer.is_full, Some(true), "one durable request makes the batch durable");
    }
}
