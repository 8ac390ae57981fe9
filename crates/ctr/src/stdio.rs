//! The streams of a task: named pipes on this side's disk, which the shim opens, too.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use api::task::Process as Task;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::error::Error;
use crate::grammar::Call;

/// Where containerd's client makes its pipes.
const FOLDER: &str = "/run/containerd/fifo";

/// What a task's streams are, by the names under which a shim knows them; empty is none.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// How the pipes are opened, where there are any.
    pipes: Option<Opening>,
    copies: Vec<JoinHandle<()>>,
}

/// Whether the shim opens the pipes later than this side, or has opened them long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    New,
    Existing,
}

impl Stdio {
    /// The streams that the command line asks for.
    pub(crate) fn of(call: &Call, id: &str, has_terminal: bool) -> Result<Stdio, Error> {
        if call.is("null-io") {
            return Ok(Stdio::default());
        }
        match call.text("log-uri") {
            "" => Stdio::pipes(call.text("fifo-dir"), id, has_terminal),
            uri => Ok(Stdio { stdout: uri.into(), stderr: uri.into(), ..Stdio::default() }),
        }
    }

    fn pipes(parent: &str, id: &str, has_terminal: bool) -> Result<Stdio, Error> {
        let failed = |source: io::Error| Error::File { what: "make pipes".into(), source };
        let parent = if parent.is_empty() { FOLDER } else { parent };
        let folder = PathBuf::from(parent).join(format!("{}-{id}", std::process::id()));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let mut stdio = Stdio { pipes: Some(Opening::New), ..Stdio::default() };
        let make = |name: &str| {
            let path = folder.join(name);
            let mode = Mode::from_raw_mode(0o700);
            mknodat(CWD, &path, FileType::Fifo, mode, 0).map_err(|errno| failed(errno.into()))?;
            Ok::<_, Error>(path.to_string_lossy().into_owned())
        };
        stdio.stdin = make("stdin")?;
        stdio.stdout = make("stdout")?;
        if !has_terminal {
            stdio.stderr = make("stderr")?;
        }
        Ok(stdio)
    }

    /// This side of the pipes, open and not read from: of a process that is left alone, what it writes waits in them for
    /// whoever attaches. The shim opens them when the process is made, and waits for this side.
    pub(crate) fn hold(&self) -> Result<Vec<File>, Error> {
        let paths =
            [&self.stdout, &self.stderr].into_iter().filter(|path| self.pipes.is_some() && !path.is_empty());
        let file = |path: &String| {
            open(path, Opening::Existing)
                .map_err(|source| Error::File { what: format!("open {path}"), source })
        };
        paths.map(file).collect()
    }

    /// The pipes of a task that runs. Its streams may be files or another program's: these are left alone.
    pub(crate) fn existing(process: &Task) -> Stdio {
        let pipe = |path: &str| if is_pipe(path) { path.to_owned() } else { String::new() };
        let (stdin, stdout, stderr) = (pipe(&process.stdin), pipe(&process.stdout), pipe(&process.stderr));
        Stdio { stdin, stdout, stderr, pipes: Some(Opening::Existing), copies: Vec::new() }
    }

    /// Copies between the pipes and this program's own streams. Gives what says that stdin has ended.
    pub(crate) fn copy(&mut self) -> Option<tokio::sync::oneshot::Receiver<()>> {
        let opening = self.pipes?;
        for (path, is_error) in [(self.stdout.clone(), false), (self.stderr.clone(), true)] {
            if !path.is_empty() {
                self.copies.push(std::thread::spawn(move || copy_out(&path, opening, is_error)));
            }
        }
        let path = self.stdin.clone();
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            if let Ok(pipe) = OpenOptions::new().write(true).open(path) {
                copy(&mut io::stdin(), pipe);
            }
            // Nobody may be waiting any more.
            let _ = ended.send(());
        });
        Some(end)
    }

    /// Waits for all that was written, and removes the pipes.
    pub(crate) async fn finish(mut self) {
        let copies = std::mem::take(&mut self.copies);
        // A copy that panicked has nothing more to show.
        let _ =
            tokio::task::spawn_blocking(move || copies.into_iter().for_each(|copy| drop(copy.join()))).await;
        self.remove();
    }

    /// Removes the pipes; who has them open keeps them.
    pub(crate) fn remove(self) {
        if self.pipes.is_none() {
            return;
        }
        for path in [&self.stdin, &self.stdout, &self.stderr] {
            if path.is_empty() {
                continue;
            }
            // What stays is below a folder that is empty after the next start of the machine.
            let _ = std::fs::remove_file(path);
            // The folder goes with the last pipe; it may hold others' before.
            let _ = Path::new(path).parent().map(std::fs::remove_dir);
        }
    }
}

fn is_pipe(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens the side that is read from. A new pipe waits for the shim's side; of one that is there, the shim may be gone.
fn open(path: &str, opening: Opening) -> io::Result<File> {
    if opening == Opening::New {
        return File::open(path);
    }
    let pipe = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fcntl_setfl(&pipe, OFlags::empty())?;
    Ok(pipe.into())
}

fn copy_out(path: &str, opening: Opening, is_error: bool) {
    let Ok(mut pipe) = open(path, opening) else { return };
    if is_error { copy(&mut pipe, io::stderr()) } else { copy(&mut pipe, io::stdout()) }
}

/// Copies as it comes, until one side ends.
fn copy(source: &mut dyn Read, mut target: impl Write) {
    let mut chunk = vec![0; 32 << 10];
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) if target.write_all(&chunk[..count]).and_then(|()| target.flush()).is_err() => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}
