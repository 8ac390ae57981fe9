//! A container's files for the commands about them: paths as Docker splits them, and what the daemon says of one.

use api::docker::container::PathStat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{HeaderMap, Method};

use crate::client::{Body, Client, Path};
use crate::error::Error;

const STAT_HEADER: &str = "x-docker-container-path-stat";
/// Go's bits for the type of a file.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const IRREGULAR: u32 = 1 << 19;

/// Where an operand of `cp` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Container(&'a str, &'a str),
    Here(&'a str),
}

impl<'a> Place<'a> {
    /// `CONTAINER:PATH`, or a path of this machine: one that begins with a slash or a dot may have a colon.
    pub(crate) fn parse(operand: &'a str) -> Place<'a> {
        match operand.split_once(':') {
            Some((container, path)) if !operand.starts_with(['/', '.']) && !container.is_empty() => {
                Place::Container(container, path)
            }
            _ => Place::Here(operand),
        }
    }
}

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Directory,
    Nothing,
    Other,
}

/// Where an archive goes, and what its top is called there; none: as it is called already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrangement {
    pub(crate) directory: String,
    pub(crate) name: Option<String>,
}

/// Docker's rules for what `cp` makes of a source and a destination. The words of refusals are Docker's.
pub(crate) fn arrange(is_directory: bool, destination: &str, there: There) -> Result<Arrangement, Error> {
    if there == There::Directory {
        return Ok(Arrangement { directory: destination.to_owned(), name: None });
    }
    if there == There::Other && is_directory {
        return Err(Error::Value("cannot copy directory".into()));
    }
    if there == There::Nothing && !is_directory && asserts_directory(destination) {
        return Err(Error::Value("no such directory".into()));
    }
    let (directory, name) = split(destination);
    Ok(Arrangement { directory, name: Some(name) })
}

/// Whether a path says that it is a directory.
pub(crate) fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || base(path) == "."
}

/// Directory and last name; a dot at the end is the last name.
pub(crate) fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if base(path) == "." && !path.is_empty() {
        return (cleaned, ".".to_owned());
    }
    let directory = match cleaned.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    };
    (directory, base(&cleaned))
}

/// Go's `filepath.Base`.
pub(crate) fn base(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") if path.is_empty() => ".".to_owned(),
        Some("") | None => "/".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Go's `filepath.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// A cleaned path with the end that the given one has: a slash or a dot says that it is a directory.
pub(crate) fn with_end_of(given: &str, cleaned: &str) -> String {
    let stem = cleaned.trim_end_matches('/');
    if base(given) == "." && !given.is_empty() {
        format!("{stem}/.")
    } else if given.ends_with('/') {
        format!("{stem}/")
    } else {
        cleaned.to_owned()
    }
}

/// The path of a request about a file.
pub(crate) fn archive_path(container: &str, path: &str) -> Path {
    Path::of("containers", container, "/archive").query("path", path)
}

/// What a path in a container leads to.
pub(crate) async fn stat(client: &Client, container: &str, path: &str) -> Result<PathStat, Error> {
    let answer = client.respond(Method::HEAD, archive_path(container, path), Body::empty()).await?;
    stat_of(answer.headers())
}

/// What an answer's header says.
pub(crate) fn stat_of(headers: &HeaderMap) -> Result<PathStat, Error> {
    let wrong = || Error::Value(format!("the daemon's answer has no valid `{STAT_HEADER}`"));
    let header = headers.get(STAT_HEADER).ok_or_else(wrong)?;
    let json = STANDARD.decode(header.as_bytes()).map_err(|_| wrong())?;
    serde_json::from_slice(&json).map_err(Error::Answer)
}

pub(crate) fn is_directory(stat: &PathStat) -> bool {
    stat.mode & DIRECTORY != 0
}

pub(crate) fn is_symlink(stat: &PathStat) -> bool {
    stat.mode & SYMLINK != 0
}

/// Why nothing can be copied onto it.
pub(crate) fn forbids(mode: u32) -> Option<&'static str> {
    match mode {
        mode if mode & DEVICE != 0 => Some("got a device"),
        mode if mode & IRREGULAR != 0 => Some("got an irregular file"),
        _ => None,
    }
}

/// Where a link of a container leads, as a path from its root.
pub(crate) fn target_of(path: &str, stat: &PathStat) -> String {
    match &stat.link_target {
        target if target.starts_with('/') => target.clone(),
        target => clean(&format!("{}/{target}", split(path).0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_parts_container_and_path() {
        for (operand, expected) in [
            ("a:/x", Place::Container("a", "/x")),
            ("a:", Place::Container("a", "")),
            ("a:b:c", Place::Container("a", "b:c")),
            ("./a:b", Place::Here("./a:b")),
            ("/a:b", Place::Here("/a:b")),
            (":x", Place::Here(":x")),
            ("-", Place::Here("-")),
            ("a", Place::Here("a")),
        ] {
            assert_eq!(Place::parse(operand), expected, "{operand}");
        }
    }

    #[test]
    fn sources_and_destinations_are_arranged_as_docker_does() {
        let to = |directory: &str, name: Option<&str>| Some((directory.to_owned(), name.map(str::to_owned)));
        let cases = [
            (true, "/d", There::Directory, to("/d", None)),
            (false, "/d/", There::Directory, to("/d/", None)),
            (true, "/f", There::Other, None),
            (false, "/a/f", There::Other, to("/a", Some("f"))),
            (true, "/a/new", There::Nothing, to("/a", Some("new"))),
            (true, "/a/new/", There::Nothing, to("/a", Some("new"))),
            (false, "/a/new", There::Nothing, to("/a", Some("new"))),
            (false, "/a/new/", There::Nothing, None),
            (false, "/a/new/.", There::Nothing, None),
            (false, "new", There::Nothing, to(".", Some("new"))),
            (false, "/new", There::Nothing, to("/", Some("new"))),
        ];
        for (is_directory, destination, there, expected) in cases {
            let arranged = arrange(is_directory, destination, there).ok();
            let arranged = arranged.map(|arranged| (arranged.directory, arranged.name));
            assert_eq!(arranged, expected, "{is_directory} {destination} {there:?}");
        }
    }

    #[test]
    fn paths_are_taken_apart_as_go_does() {
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/", "/", "/"),
            ("/.", "/", "."),
            (".", ".", "."),
            ("a", ".", "a"),
            ("../a", "..", "a"),
            ("/a/../b", "/", "b"),
        ] {
            assert_eq!(split(path), (directory.to_owned(), name.to_owned()), "{path}");
        }
        for (given, cleaned, expected) in
            [("a/", "/x/a", "/x/a/"), ("a/.", "/x/a", "/x/a/."), ("a", "/x/a", "/x/a"), ("/", "/", "/")]
        {
            assert_eq!(with_end_of(given, cleaned), expected, "{given}");
        }
    }
}
