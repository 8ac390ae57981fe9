//! Archives that the daemon sends: to stdout, or into a file that is there when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};

use hyper::Method;
use hyper::body::Incoming;
use rustix::process::Signal;

use crate::client::{Body, Client, Path};
use crate::error::Error;
use crate::frames::Source;
use crate::lines::chunk;
use crate::output::{self, StatusLine};
use crate::size;

/// Where an archive goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
}

/// A file beside the one that is asked for; it goes unless it is kept.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Target {
    /// Reads the value of `--output`; nothing is stdout, which must not be a terminal. `what` is what cannot be done otherwise.
    pub(crate) fn new(output: &str, what: &str) -> Result<Target, Error> {
        if output.is_empty() {
            return match io::stdout().is_terminal() {
                true => Err(Error::TerminalOutput),
                false => Ok(Target::Stdout),
            };
        }
        match check(FilePath::new(output)) {
            // What is behind a link is what is meant.
            Ok(()) => Ok(Target::File(fs::canonicalize(output).unwrap_or_else(|_| output.into()))),
            Err(why) => Err(Error::Value(format!("failed to {what}: {why}"))),
        }
    }

    /// Asks for the archive and writes it. A terminal on stderr sees how far it is.
    pub(crate) async fn fill(&self, client: &Client, path: Path) -> Result<(), Error> {
        let answer = client.stream(Method::GET, path, Body::empty()).await?;
        match self {
            Target::Stdout => pour(answer, &mut |piece| output::pass_on(Source::Stdout, piece)).await,
            Target::File(path) => {
                let mut draft = Draft::beside(path)?;
                let mut status = StatusLine::new();
                let mut bytes = 0;
                let mut write = |piece: &[u8]| {
                    draft.file.write_all(piece).map_err(Error::Output)?;
                    bytes += i64::try_from(piece.len()).unwrap_or(i64::MAX);
                    status.show(&format!("receiving: {}", size::decimal(bytes)));
                    Ok(())
                };
                tokio::select! {
                    poured = pour(answer, &mut write) => poured?,
                    // Nothing stays behind when somebody loses patience.
                    _ = tokio::signal::ctrl_c() => return Err(Error::Interrupted(Signal::INT.as_raw())),
                }
                draft.keep_as(path)
            }
        }
    }
}

/// Docker's words for what cannot become a file.
fn check(path: &FilePath) -> Result<(), String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.exists()) {
        return Err(format!(
            "invalid output path: directory {:?} does not exist",
            directory.display().to_string()
        ));
    }
    match fs::metadata(path) {
        Ok(data) if data.is_file() => Ok(()),
        Ok(data) if data.is_dir() => {
            Err(format!("invalid output path: {:?} is a directory", path.display().to_string()))
        }
        Ok(_) => Err(format!("invalid output path: {:?} must be a regular file", path.display().to_string())),
        Err(_) => Ok(()),
    }
}

async fn pour(mut answer: Incoming, write: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    while let Some(piece) = chunk(&mut answer).await? {
        write(&piece)?;
    }
    Ok(())
}

impl Draft {
    fn beside(path: &FilePath) -> Result<Draft, Error> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let draft = path.with_file_name(name);
        let mut options = OpenOptions::new();
        // For its owner only, as Docker makes it: an image may hold secrets.
        let file = options.write(true).create_new(true).mode(0o600).open(&draft);
        match file {
            Ok(file) => Ok(Draft { file, path: draft }),
            Err(source) => Err(Error::File { action: "create", path: draft, source }),
        }
    }

    fn keep_as(self, path: &FilePath) -> Result<(), Error> {
        fs::rename(&self.path, path).map_err(|source| Error::File {
            action: "rename",
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was renamed is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{Draft, check};

    #[test]
    fn a_draft_goes_unless_it_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.tar");
        let names = || std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path());
        drop(Draft::beside(&path).unwrap());
        assert_eq!(names().count(), 0);
        Draft::beside(&path).unwrap().keep_as(&path).unwrap();
        assert_eq!(names().collect::<Vec<_>>(), [path]);
    }

    #[test]
    fn only_regular_files_are_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.tar");
        assert_eq!(check(&path), Ok(()));
        std::fs::write(&path, "old").unwrap();
        assert_eq!(check(&path), Ok(()));
        for (path, why) in [
            (directory.path().to_path_buf(), "is a directory"),
            ("/dev/null".into(), "must be a regular file"),
            (directory.path().join("missing/archive.tar"), "does not exist"),
        ] {
            assert!(check(&path).unwrap_err().contains(why), "{}", path.display());
        }
    }
}
