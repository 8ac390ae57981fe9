//! Streams that containerd's clients name: fifos (`/path`, `fifo:///path`) and files (`file:///path`).
//!
//! A fifo for output is opened for reading as well: a reader that goes away must not end the process with a signal, and one
//! that comes later finds everything. A fifo for input is opened for writing as well, until a client says that the input
//! ends (`CloseIO`): clients come and go, and what one wrote before it said so is still read.

use std::path::Path;

use api::shim::AttachRequest;
use rustix::fs::{FileType, Mode, OFlags, fstat, open as open_file};

use crate::attach::Attacher;
use crate::error::{Error, Result};
use crate::process::StdioPaths;

/// Opens what is named, attached to that process. What a terminal prints is one stream: then nothing is to be expected where
/// errors would go, not even a fifo.
pub(crate) fn open(paths: &StdioPaths, terminal: bool, exec: &str) -> Result<Vec<Attacher>> {
    let request = AttachRequest { exec_id: exec.to_owned(), ..AttachRequest::default() };
    let mut attachers = Vec::new();
    for (uri, request) in [
        (&paths.stdin, AttachRequest { stdin: true, ..request.clone() }),
        (&paths.stdout, AttachRequest { stdout: true, ..request.clone() }),
        (&paths.stderr, AttachRequest { stderr: true, ..request }),
    ] {
        if request.stderr && terminal {
            continue;
        }
        if let Some(target) = Target::parse(uri)? {
            attachers.push(target.open(request)?);
        }
    }
    Ok(attachers)
}

/// What a text means.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Fifo(&'a Path),
    File(&'a Path),
}

impl<'a> Target<'a> {
    fn parse(uri: &'a str) -> Result<Option<Target<'a>>> {
        let target = match uri.split_once("://") {
            None if uri.is_empty() => return Ok(None),
            None => Target::Fifo(Path::new(uri)),
            Some(("fifo", path)) => Target::Fifo(Path::new(path)),
            Some(("file", path)) => Target::File(Path::new(path)),
            Some((scheme, _)) => {
                return Err(Error::Unsupported { what: format!("a stream of kind `{scheme}`") });
            }
        };
        Ok(Some(target))
    }

    fn open(&self, request: AttachRequest) -> Result<Attacher> {
        let (path, flags) = match self {
            Target::Fifo(path) if request.stdin => (path, OFlags::RDONLY),
            Target::Fifo(path) => (path, OFlags::RDWR),
            Target::File(path) if request.stdin => (path, OFlags::RDONLY),
            Target::File(path) => (path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE),
        };
        let failed = |source: std::io::Error| Error::File { what: "open", path: path.to_path_buf(), source };
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            open_file(*path, flags, Mode::from_raw_mode(0o640)).map_err(|errno| failed(errno.into()))?;
        let kind = fstat(&opened).map_err(|errno| failed(errno.into()))?.st_mode;
        if let Target::Fifo(_) = self
            && FileType::from_raw_mode(kind) != FileType::Fifo
        {
            return Err(failed(std::io::Error::other("it is not a fifo")));
        }
        let held = match self {
            Target::Fifo(path) if request.stdin => {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Some(open_file(*path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?)
            }
            _ => None,
        };
        Ok(Attacher::file(opened, held, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fifos_or_files() {
        assert_eq!(Target::parse("").unwrap(), None);
        assert_eq!(Target::parse("/run/x").unwrap(), Some(Target::Fifo(Path::new("/run/x"))));
        assert_eq!(Target::parse("fifo:///run/x").unwrap(), Some(Target::Fifo(Path::new("/run/x"))));
        assert_eq!(Target::parse("file:///var/x").unwrap(), Some(Target::File(Path::new("/var/x"))));
        assert!(matches!(Target::parse("binary:///bin/x?y=z"), Err(Error::Unsupported { .. })));
    }
}
