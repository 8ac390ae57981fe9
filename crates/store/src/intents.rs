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

/// The notes of one state directory: `intents/<n>.json`.
#[derive(Debug)]
pub struct Intents {
    directory: PathBuf,
    /// Those that were there when it was opened. Process ids come again, so a name cannot tell whose a note is.
    found: Vec<PathBuf>,
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
    /// Opens the directory below `state`. What is there was left by processes that were killed.
    pub fn open(state: &Path) -> Result<Intents> {
        let directory = state.join("intents");
        private_dir(&directory)?;
        let failed = |source| Error::file("list", &directory, source);
        let mut found = Vec::new();
        let mut next = 0;
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).unwrap_or(0);
            next = next.max(number + 1);
            found.push(path);
        }
        found.sort();
        Ok(Intents { directory, found, next: AtomicU64::new(next) })
    }

    /// Notes that `kind` begins for `subject`.
    pub fn begin(&self, kind: &str, subject: &str) -> Result<Intent> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number:020}.json"));
        let note = Note { kind: kind.to_owned(), subject: subject.to_owned() };
        let text = serde_json::to_vec(&note).expect("a note is two texts");
        if let Err(source) = fs::write(&path, text) {
            // Half a note, or none.
            drop(fs::remove_file(&path));
            return Err(Error::file("write", &path, source));
        }
        Ok(Intent { path })
    }

    /// What killed processes left, oldest first. A note that was cut short tells that nothing had begun; it is removed.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut leftovers = Vec::new();
        for path in &self.found {
            let text = match fs::read(path) {
                // Finished since.
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.map_err(|source| Error::file("read", path, source))?,
            };
            match serde_json::from_slice(&text) {
                Ok(note) => leftovers.push(Leftover { note, intent: Intent { path: path.clone() } }),
                Err(_) => fs::remove_file(path).map_err(|source| Error::file("remove", path, source))?,
            }
        }
        Ok(leftovers)
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

#[cfg(test)]
mod tests {
    use super::Intents;
    use std::fs;

    #[test]
    fn what_was_not_finished_is_found_by_the_next_process_even_with_the_same_pid() {
        let state = tempfile::tempdir().unwrap();
        let intents = Intents::open(state.path()).unwrap();
        let killed = intents.begin("make a volume", "a").unwrap();
        intents.begin("make a volume", "b").unwrap().finish().unwrap();
        drop(killed);
        assert!(intents.leftovers().unwrap().is_empty(), "its own are not leftovers");
        let intents = Intents::open(state.path()).unwrap();
        let own = intents.begin("make a volume", "c").unwrap();
        let mut leftovers = intents.leftovers().unwrap();
        assert_eq!(leftovers.len(), 1);
        assert_eq!(leftovers[0].note.subject, "a");
        leftovers.remove(0).finish().unwrap();
        own.finish().unwrap();
        assert!(intents.leftovers().unwrap().is_empty());
        assert_eq!(fs::read_dir(state.path().join("intents")).unwrap().count(), 0);
    }

    #[test]
    fn half_a_note_is_removed() {
        let state = tempfile::tempdir().unwrap();
        drop(Intents::open(state.path()).unwrap());
        fs::write(state.path().join("intents/00000000000000000007.json"), "{\"kind\":").unwrap();
        let intents = Intents::open(state.path()).unwrap();
        assert!(intents.leftovers().unwrap().is_empty());
        assert_eq!(fs::read_dir(state.path().join("intents")).unwrap().count(), 0);
    }
}
