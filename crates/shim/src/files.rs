//! Streams that containerd's clients name: fifos, files, and loggers ([`crate::uri`]).
//!
//! A fifo for output is opened for reading as well: a reader that goes away must not end the process with a signal, and one
//! that comes later finds everything. A fifo for input is opened for writing as well, until a client says that the input
//! ends (`CloseIO`): clients come and go, and what one wrote before it said so is still read.

use std::os::fd::OwnedFd;
use std::path::Path;

use api::shim::AttachRequest;
use rustix::fs::{FileType, Mode, OFlags, fstat, open as open_file};

use crate::attach::Attacher;
use crate::error::{Error, Result};
use crate::logger::{Logger, Pipes, Subject};
use crate::process::StdioPaths;
use crate::uri::{Program, Target};

/// The directories of a file that is not there yet; containerd's choice.
const DIRECTORY_MODE: u32 = 0o755;

/// What a process's streams are connected to.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) attachers: Vec<Attacher>,
    pub(crate) logger: Option<Logger>,
}

/// Opens what is named, attached to the process that it is for.
pub(crate) fn open(paths: &StdioPaths, subject: Subject<'_>) -> Result<Opened> {
    let mut opened = Opened::default();
    let request = |stream: fn(&mut AttachRequest)| {
        let mut request = AttachRequest { exec_id: subject.exec.to_owned(), ..AttachRequest::default() };
        stream(&mut request);
        request
    };
    if let Some(target) = Target::parse(&paths.stdin)? {
        opened.attachers.push(open_one(&target, request(|request| request.stdin = true))?);
    }
    let (stdout, stderr) =
        (request(|request| request.stdout = true), request(|request| request.stderr = true));
    let (out, err) = (Target::parse(&paths.stdout)?, Target::parse(&paths.stderr)?);
    if let Some(Target::Program(program)) = &out {
        // Clients name it for both; a terminal has one output.
        if !paths.stderr.is_empty() && out != err {
            return Err(Error::BesideLogger { stderr: paths.stderr.clone() });
        }
        opened.start(program, subject, [stdout, stderr])?;
        return Ok(opened);
    }
    for (target, request) in [(out, stdout), (err, stderr)] {
        // What a terminal prints is one stream: nothing is to be expected where errors would go, not even a fifo.
        if let Some(target) = target.filter(|_| !(request.stderr && subject.terminal)) {
            opened.attachers.push(open_one(&target, request)?);
        }
    }
    Ok(opened)
}

impl Opened {
    fn start(
        &mut self,
        program: &Program,
        subject: Subject<'_>,
        [out, err]: [AttachRequest; 2],
    ) -> Result<()> {
        let (logger, Pipes { stdout, stderr }) = Logger::start(program, subject)?;
        self.logger = Some(logger);
        self.attachers.push(Attacher::file(stdout, None, out));
        if !subject.terminal {
            self.attachers.push(Attacher::file(stderr, None, err));
        }
        Ok(())
    }
}

fn open_one(target: &Target, request: AttachRequest) -> Result<Attacher> {
    let opened = match target {
        Target::Fifo(path) => {
            let access = if request.stdin { OFlags::RDONLY } else { OFlags::RDWR };
            let opened = open_at(path, access)?;
            let kind = fstat(&opened).map_err(|errno| cannot_open(path, errno.into()))?.st_mode;
            if FileType::from_raw_mode(kind) != FileType::Fifo {
                return Err(cannot_open(path, std::io::Error::other("it is not a fifo")));
            }
            opened
        }
        Target::File(path) if request.stdin => open_at(path, OFlags::RDONLY)?,
        Target::File(path) => {
            make_parents(path)?;
            open_at(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?
        }
        Target::Program(program) => {
            let path = program.path.clone();
            return Err(cannot_open(
                &path,
                std::io::Error::other("a logger takes a process's standard output"),
            ));
        }
    };
    // A client that goes does not end the input.
    let held = match target {
        Target::Fifo(path) if request.stdin => Some(open_at(path, OFlags::WRONLY)?),
        _ => None,
    };
    Ok(Attacher::file(opened, held, request))
}

fn open_at(path: &Path, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open_file(path, flags, Mode::from_raw_mode(0o644)).map_err(|errno| cannot_open(path, errno.into()))
}

fn make_parents(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(parent) = path.parent().filter(|parent| !parent.exists()) else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent);
    made.map_err(|source| cannot_open(path, source))
}

fn cannot_open(path: &Path, source: std::io::Error) -> Error {
    Error::File { what: "open", path: path.to_path_buf(), source }
}
