//! A container's files: archives out of it and into it, what it changed, and all of it.
//!
//! An archive is a stream: nobody keeps it in memory. One that breaks off ends its connection without the end of the body,
//! so that no client takes half of it for the whole.

use api::docker::container::{ContainerChange, PathStat};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::containers::{Archive, Change, ChangeKind, ExtractOptions, FileStat};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use crate::archive::{TAR, arrived, drain, feed};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::reply::{self, Reply};
use crate::time;

const STAT_HEADER: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Go's bits for the type of a file and what goes with it, above those of its permissions.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SET_USER_ID: u32 = 1 << 23;
const SET_GROUP_ID: u32 = 1 << 22;
const CHARACTER_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;

/// `HEAD /containers/{id}/archive`.
pub(crate) async fn stat(call: Call) -> Result<Reply> {
    let path = path(&call)?;
    let found = call.engine.containers().stat_path(&call.name, &path).await?;
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(STAT_HEADER, stat_header(&path, &found));
    Ok(reply)
}

/// `GET /containers/{id}/archive`.
pub(crate) async fn archive(call: Call) -> Result<Reply> {
    let path = path(&call)?;
    let (found, archive) = call.engine.containers().archive(&call.name, &path).await?;
    let mut reply = send(archive, TAR)?;
    reply.headers_mut().insert(STAT_HEADER, stat_header(&path, &found));
    Ok(reply)
}

/// `PUT /containers/{id}/archive`.
pub(crate) async fn extract(call: Call) -> Result<Reply> {
    let path = path(&call)?;
    let options = ExtractOptions {
        no_overwrite: call.query.flag("noOverwriteDirNonDir"),
        own_by_user: call.query.flag("copyUIDGID"),
    };
    let containers = call.engine.containers();
    let (input, feeder) = feed(call.request.take().into_body())?;
    let extracted = containers.extract(&call.name, &path, options, input).await;
    arrived(feeder, extracted).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /containers/{id}/changes`.
pub(crate) async fn changes(call: Call) -> Result<Reply> {
    let changes = call.engine.containers().changes(&call.name).await?;
    let changes: Vec<ContainerChange> = changes.into_iter().map(describe).collect();
    // Docker's word for nothing.
    if changes.is_empty() { Ok(reply::ok(&serde_json::Value::Null)) } else { Ok(reply::ok(&changes)) }
}

/// `GET /containers/{id}/export`.
pub(crate) async fn export(call: Call) -> Result<Reply> {
    send(call.engine.containers().export(&call.name).await?, BINARY)
}

fn path(call: &Call) -> Result<String> {
    let path = call.query.text("path");
    path.map(str::to_owned).ok_or_else(|| Error::invalid("bad parameter: path cannot be empty"))
}

/// An archive as it is made.
fn send(archive: Archive, kind: HeaderValue) -> Result<Reply> {
    drain(archive.output, kind, async move { archive.end.check().await.map_err(|error| error.chain()) })
}

fn describe(change: Change) -> ContainerChange {
    let kind = match change.kind {
        ChangeKind::Changed => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    ContainerChange { path: change.path, kind }
}

fn stat_header(path: &str, found: &FileStat) -> HeaderValue {
    let stat = PathStat {
        name: last_name(path),
        size: i64::try_from(found.size_bytes).unwrap_or(i64::MAX),
        mode: go_mode(found.mode),
        mtime: time::rfc3339(Some(
            found.mtime_s.saturating_mul(1_000_000_000).saturating_add(found.mtime_ns.into()),
        )),
        link_target: found.link_target.clone(),
    };
    let json = serde_json::to_vec(&stat).expect("text and numbers are JSON");
    HeaderValue::try_from(STANDARD.encode(json)).expect("base64 is a header's value")
}

/// Go's `filepath.Base` of an absolute path.
fn last_name(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    let name = trimmed.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "/".to_owned() } else { name.to_owned() }
}

/// A mode as Go's `os.FileMode` has it.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => DIRECTORY,
        0o120_000 => SYMLINK,
        0o060_000 => DEVICE,
        0o020_000 => DEVICE | CHARACTER_DEVICE,
        0o010_000 => FIFO,
        0o140_000 => SOCKET,
        _ => 0,
    };
    let extra = [(0o4000, SET_USER_ID), (0o2000, SET_GROUP_ID), (0o1000, STICKY)];
    let extra = extra.iter().filter(|(bit, _)| mode & bit != 0).fold(0, |bits, (_, bit)| bits | bit);
    mode & 0o777 | kind | extra
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        for (mode, expected) in [
            (0o100_644, 0o644),
            (0o040_755, 0o755 | 1 << 31),
            (0o041_777, 0o777 | 1 << 31 | 1 << 20),
            (0o104_755, 0o755 | 1 << 23),
            (0o120_777, 0o777 | 1 << 27),
            (0o020_666, 0o666 | 1 << 26 | 1 << 21),
        ] {
            assert_eq!(go_mode(mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn the_name_is_the_path_s_last() {
        for (path, name) in [("/", "/"), ("/etc", "etc"), ("/etc/", "etc"), ("/etc/.", "."), ("a", "a")] {
            assert_eq!(last_name(path), name, "{path}");
        }
    }
}
