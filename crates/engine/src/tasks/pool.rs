//! Spare shims: started, connected, waiting for a container.
//!
//! A spare shim ends by itself when the pipe on its standard input hangs up: a daemon that dies takes its spares with
//! it. The pool keeps the writing end (the lifeline) until the shim is bound.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::client::Client;
use crate::blocking::blocking;
use crate::error::{Error, Result};

/// A container that was just started needs the processors more than the pool does.
const REFILL_PAUSE: Duration = Duration::from_millis(15);
/// What a shim says when it listens, and a little more.
const READY_MAX_BYTES: u64 = 64;

/// A spare shim.
#[derive(Debug)]
pub(crate) struct Spare {
    directory: PathBuf,
    client: Client,
    lifeline: ChildStdin,
}

/// The spare shims.
#[derive(Debug)]
pub(crate) struct Pool {
    executable: PathBuf,
    /// `<state>/shims`
    directory: PathBuf,
    size: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    spares: Vec<Spare>,
    is_filling: bool,
    is_closed: bool,
}

impl Spare {
    /// Its name in the directory of shims.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn into_parts(self) -> (PathBuf, Client, ChildStdin) {
        (self.directory, self.client, self.lifeline)
    }
}

impl Pool {
    pub(crate) fn new(executable: PathBuf, directory: PathBuf, size: usize) -> Pool {
        Pool { executable, directory, size, inner: Mutex::new(Inner::default()) }
    }

    /// A spare shim, or a new one. Call [`Pool::refill`] when the container runs.
    pub(crate) async fn take(&self) -> Result<Spare> {
        loop {
            let spare = self.lock().spares.pop();
            match spare {
                None => return self.spawn().await,
                Some(spare) if spare.client.is_closed() => remove_directory(spare.directory).await,
                Some(spare) => return Ok(spare),
            }
        }
    }

    /// Starts what is missing, in the background.
    pub(crate) fn refill(self: &Arc<Self>) {
        {
            let mut inner = self.lock();
            if inner.is_filling || inner.is_closed || inner.spares.len() >= self.size {
                return;
            }
            inner.is_filling = true;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(REFILL_PAUSE).await;
            while pool.wants_more() {
                match pool.spawn().await {
                    Ok(spare) => pool.put(spare).await,
                    Err(error) => {
                        // The next start tries again, and tells its client.
                        tracing::warn!(error = %error.chain(), "no spare shim");
                        break;
                    }
                }
            }
            pool.lock().is_filling = false;
        });
    }

    /// Ends the spare shims.
    pub(crate) async fn close(&self) {
        let spares = {
            let mut inner = self.lock();
            inner.is_closed = true;
            std::mem::take(&mut inner.spares)
        };
        for spare in spares {
            let Spare { directory, client, lifeline } = spare;
            drop((client, lifeline));
            remove_directory(directory).await;
        }
    }

    fn wants_more(&self) -> bool {
        let inner = self.lock();
        !inner.is_closed && inner.spares.len() < self.size
    }

    /// Gives one back that was not used.
    pub(crate) async fn put(&self, spare: Spare) {
        let refused = {
            let mut inner = self.lock();
            if inner.is_closed {
                Some(spare)
            } else {
                inner.spares.push(spare);
                None
            }
        };
        if let Some(spare) = refused {
            let Spare { directory, client, lifeline } = spare;
            drop((client, lifeline));
            remove_directory(directory).await;
        }
    }

    async fn spawn(&self) -> Result<Spare> {
        let executable = self.executable.clone();
        let directory = self.directory.join(crate::random::hex::<8>());
        let own = directory.clone();
        let spawned = async move {
            let mut child = blocking(move || spawn(&executable, &own)).await?;
            let lifeline = child.stdin.take().expect("it was asked for");
            let mut told = String::new();
            let stdout = child.stdout.take().expect("it was asked for");
            let read = BufReader::new(stdout.take(READY_MAX_BYTES)).read_line(&mut told).await;
            match read {
                Ok(_) if told == "ready\n" => Ok(lifeline),
                Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            }
            // The child is dropped, which leaves it alone: tokio reaps it when it ends.
        };
        let connected = match spawned.await {
            Ok(lifeline) => {
                Client::connect(&directory.join("task.sock")).await.map(|client| (client, lifeline))
            }
            Err(source) => Err(Error::File { what: "start the shim", path: self.executable.clone(), source }),
        };
        match connected {
            Ok((client, lifeline)) => Ok(Spare { directory, client, lifeline }),
            Err(error) => {
                remove_directory(directory).await;
                Err(error)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a shim in a new directory.
fn spawn(executable: &Path, directory: &Path) -> std::io::Result<Child> {
    std::fs::create_dir(directory)?;
    Command::new(executable)
        .arg("spare")
        .arg("--dir")
        .arg(directory)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
}

/// Removes the directory of a shim that is of no more use.
pub(super) async fn remove_directory(directory: PathBuf) {
    blocking(move || {
        // What is left is found when the engine opens the next time.
        drop(std::fs::remove_dir_all(directory));
    })
    .await;
}
