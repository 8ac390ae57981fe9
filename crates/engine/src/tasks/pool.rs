//! Spare shims: started, connected, waiting for a container.
//!
//! A spare shim ends by itself when the pipe on its standard input hangs up: a daemon that dies takes its spares with
//! it. The pool keeps the writing end (the lifeline) until the shim is bound.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::client::Client;
use crate::blocking::blocking;
use crate::error::{Error, Result};

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
        let (directory, lifeline) = blocking(move || {
            let lifeline =
                spawn(&executable, &directory).inspect_err(|_| drop(std::fs::remove_dir_all(&directory)))?;
            Ok::<_, Error>((directory, lifeline))
        })
        .await?;
        let client = Client::connect(&directory.join("task.sock")).await?;
        Ok(Spare { directory, client, lifeline })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a shim and returns when it listens.
fn spawn(executable: &Path, directory: &Path) -> Result<ChildStdin> {
    let failed = |source| Error::File { what: "start the shim", path: executable.to_owned(), source };
    std::fs::create_dir(directory).map_err(|source| Error::File {
        what: "make the directory",
        path: directory.to_owned(),
        source,
    })?;
    let mut child = Command::new(executable)
        .arg("spare")
        .arg("--dir")
        .arg(directory)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let lifeline = child.stdin.take().expect("it was asked for");
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().expect("it was asked for")).read_line(&mut line);
    // The child that we started ends at once: the shim proper is its child.
    child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if line.trim_end() != "ready" {
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        let why = log.lines().last().unwrap_or("it ended without a word").to_owned();
        return Err(failed(std::io::Error::other(why)));
    }
    Ok(lifeline)
}

async fn remove_directory(directory: PathBuf) {
    blocking(move || {
        // What is left is found when the engine opens the next time.
        drop(std::fs::remove_dir_all(directory));
    })
    .await;
}
