//! The networks on disk: one conflist each, in the directory of network configurations.
//!
//! The files are the truth and are read each time, because others write there too. Ours are called
//! `corten-<name>.conflist`. A file that cannot be read is named in the log and is no network.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use network::conflist::{self, Network};

use crate::error::{Error, Result, chain};

/// More files than this are somebody's mistake.
const FILES_MAX: usize = 4096;
/// How the names of our files begin.
const PREFIX: &str = "corten-";

/// The directory.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    directory: PathBuf,
}

impl Book {
    pub(crate) fn new(directory: PathBuf) -> Book {
        Book { directory }
    }

    /// All networks, by name. Of several files with one name the first counts, as with CNI.
    pub(crate) fn list(&self) -> Result<Vec<Network>> {
        let mut paths = Vec::new();
        for path in self.files()? {
            if path.extension().is_some_and(|extension| extension == "conflist") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.truncate(FILES_MAX);
        let mut networks: Vec<Network> = paths.iter().filter_map(|path| read_or_complain(path)).collect();
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        networks.dedup_by(|one, other| one.name == other.name);
        Ok(networks)
    }

    /// The network of that name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Network>> {
        // Ours has a file of its name, so that a start need not read all.
        if conflist::check_name(name).is_ok()
            && let Some(network) = read_or_complain(&self.path(name)).filter(|network| network.name == name)
        {
            return Ok(Some(network));
        }
        Ok(self.list()?.into_iter().find(|network| network.name == name))
    }

    /// The network of that name or id, or with that unique beginning of its id.
    pub(crate) fn find(&self, text: &str) -> Result<Network> {
        if let Some(network) = self.get(text)? {
            return Ok(network);
        }
        let mut found: Vec<Network> =
            self.list()?.into_iter().filter(|network| network.id.starts_with(text)).collect();
        if let Some(exact) = found.iter().position(|network| network.id == text) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            1 if !text.is_empty() => Ok(found.remove(0)),
            0 | 1 => Err(Error::NoSuchNetwork(text.to_owned())),
            count => Err(Error::InvalidArgument(format!(
                "network {text} is ambiguous ({count} matches found on id)"
            ))),
        }
    }

    /// Writes a network of ours, durably.
    pub(crate) fn put(&self, network: &Network) -> Result<()> {
        let path = self.path(&network.name);
        let text = network.to_json().expect("only bridges are made here");
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.directory)
            .and_then(|()| File::open(&self.directory))
            .and_then(|directory| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                store::durable::replace_file(directory.as_fd(), name, text.as_bytes())
            });
        written.map_err(|source| Error::File { what: "write", path, source })
    }

    /// Removes a network's file, whoever wrote it. Ok(false): there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        for path in self.files()? {
            if read(&path).ok().flatten().is_some_and(|network| network.name == name) {
                let removed = fs::remove_file(&path).and_then(|()| File::open(&self.directory)?.sync_all());
                return removed.map(|()| true).map_err(|source| Error::File { what: "remove", path, source });
            }
        }
        Ok(false)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{PREFIX}{name}.conflist"))
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let failed = |source| Error::File { what: "list", path: self.directory.clone(), source };
        match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries
                .map_err(failed)?
                .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
                .collect(),
        }
    }
}

/// Why a file is no network.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Conflist(#[from] conflist::ConflistError),
}

fn read_or_complain(path: &Path) -> Option<Network> {
    match read(path) {
        Ok(network) => network,
        Err(error) => {
            tracing::warn!(path = %path.display(), error = chain(&error), "a network's file is left out");
            None
        }
    }
}

/// None: there is no such file.
fn read(path: &Path) -> Result<Option<Network>, Unreadable> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(conflist::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(Network::parse(&bytes)?))
}
