//! Intents: notes about kernel effects under way, in the state directory.
//!
//! An intent is written before the first effect and removed after the commit that makes the effects known. Whoever finds one at the start
//! finishes or undoes what it tells. They are not synced: a reboot clears the effects and the notes alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::private_dir;

/// The notes of one state directory: `intents/<id>.json`.
#[derive(Debug)]
pub struct Intents {
    directory: PathBuf,
    next: AtomicU64,
}

/// A note. Keep it until the effects are known or undone, then [`Intent::finish`] it; dropping it leaves it on disk.
#[derive(Debug)]
#[must_use = "an intent that is not finished is undone at the next start"]
pub struct Intent {
    path: PathBuf,
}

/// A note that a process left which was killed.
#[derive(Debug)]
pub struct Leftover {
    pub note: Note,
    intent: Intent,
}

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What was under way.
    pub kind: String,
    /// To what: a container's uid.
    pub subject: String,
}

impl Intents {
    /// Opens the directory below `state`.
    pub fn open(state: &Path) -> Result<Intents> {
        let directory = state.join("intents");
        private_dir(&directory)?;
        Ok(Intents { directory, next: AtomicU64::new(0) })
    }

    /// Notes that `kind` begins for `subject`.
    pub fn begin(&self, kind: &str, subject: &str) -> Result<Intent> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{}-{number}.json", std::process::id()));
        let note = Note { kind: kind.to_owned(), subject: subject.to_owned() };
        let text = serde_json::to_vec(&note).expect("a note is two texts");
        fs::write(&path, text).map_err(|source| Error::file("write", &path, source))?;
        Ok(Intent { path })
    }

    /// What killed processes left. A note that was cut short tells nothing had begun; it is removed.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let failed = |source| Error::file("list", &self.directory, source);
        let own = format!("{}-", std::process::id());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read(&path).map_err(|source| Error::file("read", &path, source))?;
            match serde_json::from_slice(&text) {
                Ok(_) if name.starts_with(&own) => {}
                Ok(note) => found.push(Leftover { note, intent: Intent { path } }),
                Err(_) => fs::remove_file(&path).map_err(|source| Error::file("remove", &path, source))?,
            }
        }
        Ok(found)
    }
}

impl Intent {
    /// The effects are known, or undone.
    pub fn finish(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|source| Error::file("remove", &self.path, source))
    }
}

impl Leftover {
    /// What it tells was finished or undone.
    pub fn finish(self) -> Result<()> {
        self.intent.finish()
    }
}
