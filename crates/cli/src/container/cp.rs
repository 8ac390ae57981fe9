//! `cp`: copies files from and to containers.

use std::io::{self, Read, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use image::local::{self, LocalError, LocalOptions};
use std::io::IsTerminal;
use tokio::sync::mpsc;

use super::files::{self, Arrangement, Place, There};
use crate::client::{Body, Client};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::output::{self, StatusLine};
use crate::size;

/// How often the count of bytes is shown, as Docker does.
const TICK: Duration = Duration::from_millis(300);
/// Pieces of an archive that wait to be unpacked.
const CHUNKS_WAITING: usize = 4;
/// Links that are followed to a destination, as Docker does.
const LINKS_MAX: usize = 10;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcorten cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem",
    operands: Operands::exactly(2),
    flags: || {
        vec![
            switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
            switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
            switch(
                "quiet",
                "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
            )
            .short('q'),
        ]
    },
    refused: &[],
    run: |cli: &Cli, given: &Given| {
        let copy = Copy {
            keeps_owners: given.switch("archive"),
            follows_link: given.switch("follow-link"),
            is_quiet: given.text("quiet").map_or(!io::stdout().is_terminal(), |_| given.switch("quiet")),
        };
        let operands = given.operands();
        cli.with_client(async |client| match (Place::parse(operands[0]), Place::parse(operands[1])) {
            (Place::Container(container, from), Place::Here(to)) => {
                copy.copy_out(client, container, from, to).await
            }
            (Place::Here(from), Place::Container(container, to)) => {
                copy.copy_in(client, from, container, to).await
            }
            (Place::Container(..), Place::Container(..)) => {
                Err(Error::Value("copying between containers is not supported".into()))
            }
            (Place::Here(_), Place::Here(_)) => {
                Err(Error::Value("must specify at least one container source".into()))
            }
        })
        .map(|()| 0)
    },
};

/// How to copy.
struct Copy {
    keeps_owners: bool,
    follows_link: bool,
    is_quiet: bool,
}

impl Copy {
    async fn copy_out(&self, client: &Client, container: &str, from: &str, to: &str) -> Result<(), Error> {
        let to = if to == "-" { to.to_owned() } else { absolute(to)? };
        if to != "-" {
            check_output(&to)?;
        }
        let mut path = from.to_owned();
        if self.follows_link
            && let Ok(stat) = files::stat(client, container, from).await
            && files::is_symlink(&stat)
        {
            path = files::with_end_of(from, &files::target_of(from, &stat));
        }
        let answer =
            client.respond(Method::GET, files::archive_path(container, &path), Body::empty()).await?;
        let stat = files::stat_of(answer.headers())?;
        let mut archive = answer.into_body();
        if to == "-" {
            while let Some(piece) = next(&mut archive).await? {
                io::stdout().lock().write_all(&piece).map_err(Error::Output)?;
            }
            return io::stdout().flush().map_err(Error::Output);
        }
        let (place, there) = destination(&to)?;
        let Arrangement { directory, name } = files::arrange(files::is_directory(&stat), &place, there)?;
        let rename = Some((files::split(&path).1, name.unwrap_or_else(|| files::split(from).1)));
        let options = LocalOptions { rename, keeps_owners: self.keeps_owners };
        let count = self.unpack(archive, directory, options).await?;
        self.tell(count, &to);
        Ok(())
    }

    /// Unpacks in a thread what comes over the connection; how many bytes came.
    async fn unpack(
        &self,
        mut archive: Incoming,
        directory: String,
        options: LocalOptions,
    ) -> Result<u64, Error> {
        let (sender, pieces) = mpsc::channel(CHUNKS_WAITING);
        let unpacking = tokio::task::spawn_blocking(move || {
            local::place(Pieces { pieces, piece: Bytes::new() }, FilePath::new(&directory), options)
        });
        let mut status = StatusLine::new();
        let (mut count, mut shown) = (0, tokio::time::Instant::now());
        loop {
            let piece = match next(&mut archive).await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => break,
                Err(error) => {
                    // The archive must not look as if this were its end.
                    let _gone = sender.send(Err(io::Error::other("the connection broke"))).await;
                    drop(unpacking.await);
                    return Err(error);
                }
            };
            count += piece.as_ref().map_or(0, |piece: &Bytes| piece.len() as u64);
            if sender.send(piece).await.is_err() {
                break;
            }
            if !self.is_quiet && shown.elapsed() >= TICK {
                shown = tokio::time::Instant::now();
                status.show(&format!("Copying from container - {}", human(count)));
            }
        }
        drop(sender);
        unpacking.await.map_err(|_| Error::Value("unpacking failed".into()))?.map_err(failed)?;
        Ok(count)
    }

    async fn copy_in(&self, client: &Client, from: &str, container: &str, to: &str) -> Result<(), Error> {
        let from = if from == "-" { from.to_owned() } else { absolute(from)? };
        let mut place = to.to_owned();
        let mut stat = files::stat(client, container, to).await.ok();
        if let Some(link) = stat.as_ref().filter(|stat| files::is_symlink(stat)) {
            place = files::target_of(to, link);
            stat = files::stat(client, container, &place).await.ok();
        }
        if let Some(why) = stat.as_ref().and_then(|stat| files::forbids(stat.mode)) {
            let what =
                format!("destination \"{container}:{to}\" must be a directory or a regular file: {why}");
            return Err(Error::Value(what));
        }
        let there = match &stat {
            None => There::Nothing,
            Some(stat) if files::is_directory(stat) => There::Directory,
            Some(_) => There::Other,
        };
        let sent = Arc::new(AtomicU64::new(0));
        let (directory, input): (String, Box<dyn Read + Send>) = if from == "-" {
            if there != There::Directory {
                return Err(Error::Value(format!("destination \"{container}:{to}\" must be a directory")));
            }
            (place.clone(), Box::new(io::stdin()))
        } else {
            let source = if self.follows_link { resolved(&from)? } else { PathBuf::from(&from) };
            let data = std::fs::symlink_metadata(&source).map_err(|error| missing(&source, error))?;
            let Arrangement { directory, name } = files::arrange(data.is_dir(), &place, there)?;
            let name = name.unwrap_or_else(|| files::split(&from).1);
            (directory, Box::new(Packing::start(source, name)?))
        };
        let path = files::archive_path(container, &directory)
            .query("noOverwriteDirNonDir", "true")
            .query_if("copyUIDGID", self.keeps_owners.then_some("true"));
        let count = sent.clone();
        let body = Body::reading(input, move |total| count.store(total, Ordering::Relaxed));
        self.send(client, path, body, &sent).await?;
        if from != "-" {
            self.tell(sent.load(Ordering::Relaxed), &format!("{container}:{place}"));
        }
        Ok(())
    }

    async fn send(
        &self,
        client: &Client,
        path: crate::client::Path,
        body: Body,
        sent: &AtomicU64,
    ) -> Result<(), Error> {
        let mut status = StatusLine::new();
        let mut sending = std::pin::pin!(client.respond(Method::PUT, path, body));
        loop {
            match tokio::time::timeout(TICK, &mut sending).await {
                Ok(answer) => return answer.map(drop),
                Err(_) if self.is_quiet => {}
                Err(_) => {
                    status.show(&format!("Copying to container - {}", human(sent.load(Ordering::Relaxed))));
                }
            }
        }
    }

    fn tell(&self, count: u64, place: &str) {
        if !self.is_quiet {
            output::complain(&format!("Successfully copied {} to {place}", human(count)));
        }
    }
}

fn human(count: u64) -> String {
    size::decimal(i64::try_from(count).unwrap_or(i64::MAX))
}

async fn next(archive: &mut Incoming) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = archive.frame().await {
        if let Ok(data) = frame.map_err(Error::Transport)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// An archive that comes in pieces.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Files that a thread packs while they are read as an archive.
struct Packing {
    archive: io::PipeReader,
    thread: Option<JoinHandle<Result<(), LocalError>>>,
}

impl Packing {
    fn start(source: PathBuf, name: String) -> Result<Packing, Error> {
        let (archive, output) = io::pipe().map_err(Error::Input)?;
        let thread = std::thread::spawn(move || local::pack(&source, &name, output));
        Ok(Packing { archive, thread: Some(thread) })
    }
}

impl Read for Packing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        if count == 0
            && let Some(thread) = self.thread.take()
        {
            // Its error must not look like the archive's end.
            thread.join().map_err(|_| io::Error::other("packing failed"))?.map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

fn failed(error: LocalError) -> Error {
    Error::Unpack(error)
}

/// A path of this machine from the root, with the end that it has.
fn absolute(path: &str) -> Result<String, Error> {
    let here = std::env::current_dir().map_err(Error::Input)?;
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", here.display()) };
    Ok(files::with_end_of(path, &files::clean(&joined)))
}

/// The file that a path leads to, with the end of the path.
fn resolved(path: &str) -> Result<PathBuf, Error> {
    let real = std::fs::canonicalize(path).map_err(|error| missing(FilePath::new(path), error))?;
    Ok(files::with_end_of(path, &real.to_string_lossy()).into())
}

/// In the words of Go's `os.Lstat`.
fn missing(path: &FilePath, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Error::Value(format!("lstat {}: no such file or directory", path.display()))
        }
        io::ErrorKind::NotADirectory => Error::Value(format!("lstat {}: not a directory", path.display())),
        _ => Error::File { action: "lstat", path: path.to_owned(), source: error },
    }
}

/// Docker's check of a path that is to be written to, before anything is asked of the daemon.
pub(crate) fn check_output(path: &str) -> Result<(), Error> {
    let (directory, _) = files::split(&files::clean(path));
    if std::fs::metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(Error::Value(format!("invalid output path: directory {directory:?} does not exist")));
    }
    let is_wrong = std::fs::metadata(path).is_ok_and(|data| !data.is_dir() && !data.is_file());
    if is_wrong {
        return Err(Error::Value(format!(
            "invalid output path: {path:?} must be a directory or a regular file: got a device"
        )));
    }
    Ok(())
}

/// Where a destination on this machine leads, and what is there. It need not exist, but its directory must.
fn destination(path: &str) -> Result<(String, There), Error> {
    let mut place = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let data = match std::fs::symlink_metadata(&place) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = files::split(&place);
                let data =
                    std::fs::metadata(&parent).map_err(|error| missing(FilePath::new(&parent), error))?;
                if !data.is_dir() {
                    return Err(Error::Value("not a directory".into()));
                }
                return Ok((place, There::Nothing));
            }
            Err(error) => return Err(missing(FilePath::new(&place), error)),
        };
        if !data.is_symlink() {
            return Ok((place, if data.is_dir() { There::Directory } else { There::Other }));
        }
        let target = std::fs::read_link(&place).map_err(|error| missing(FilePath::new(&place), error))?;
        let target = target.to_string_lossy().into_owned();
        place = match target.starts_with('/') {
            true => target,
            false => files::clean(&format!("{}/{target}", files::split(&place).0)),
        };
    }
    Err(Error::Value(format!("too many symlinks in {path}")))
}
