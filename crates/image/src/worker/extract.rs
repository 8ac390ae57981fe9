//! Taking an image archive apart: its plausible members become numbered files in a scratch directory.
//!
//! ```text
//! scratch/0 1 2 …   contents, in the archive's order
//! scratch/members   JSON: [{"name": "index.json", "file": 0, "size": 12}, {"name": "a/layer.tar", "link": "b.tar"}, …]
//! ```
//!
//! Names never become paths, so there is no name that could do harm; they are keys, looked up by the daemon.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use oci::manifest::MAX_DOCUMENT_SIZE;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::protocol::{Limits, Outcome, Progress, Refusal};
use super::unpack::PROGRESS_STEP;
use crate::compression::Decoder;
use crate::tar::{Entry, Kind, Quoted, Reader, TarError};

/// The table of members in the scratch directory.
pub(crate) const MEMBERS_FILE: &str = "members";
/// Longest name of a member: three times a sha512 digest.
const MAX_NAME_LENGTH: usize = 512;
/// Most members: a layer, its configuration and its version file for each of 4096 layers, and some images.
const MAX_MEMBERS: usize = 16_384;
const BUFFER_SIZE: usize = 256 << 10;

/// One member of an image archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) content: MemberContent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum MemberContent {
    /// The number of its file.
    File { file: usize, size: u64 },
    /// The name of another member.
    Link { link: String },
}

/// Why an archive was not taken apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExtractError {
    #[error("member `{0}` occurs twice")]
    Duplicate(String),
    #[error("member `{0}` has {1} bytes, larger than a document may be ({MAX_DOCUMENT_SIZE})")]
    LargeDocument(String, u64),
    #[error("the input is not a tar archive (plain, gzip or zstd)")]
    NotAnArchive,
    #[error("the input is empty")]
    Empty,
    #[error("the input cannot be read")]
    Read(#[source] io::Error),
    #[error("the link `{0}` leaves the archive")]
    LinkLeaves(String),
    #[error("the file {} has holes", Quoted(.0))]
    Sparse(Vec<u8>),
    #[error("the archive is damaged")]
    Tar(#[source] TarError),
    #[error("the archive has more than {MAX_MEMBERS} members")]
    TooManyMembers,
    #[error("writing member `{name}`")]
    Write {
        name: String,
        #[source]
        source: io::Error,
    },
}

pub(super) fn extract(
    input: OwnedFd,
    scratch: &OwnedFd,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Refusal> {
    Ok(extract_members(input, scratch, limits, progress)?)
}

fn extract_members(
    input: OwnedFd,
    scratch: &OwnedFd,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, ExtractError> {
    let decoder = Decoder::new(File::from(input), limits.expansion).map_err(ExtractError::Read)?;
    let (compression, counter) = (decoder.compression(), decoder.input_counter());
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_SIZE, decoder));
    let mut members: Vec<Member> = Vec::new();
    let mut names = HashSet::new();
    let (mut reported, mut size_bytes) = (0, 0);
    while let Some(entry) = reader.next_entry().map_err(|error| first_error(error, reader.entries()))? {
        let Some(name) = plausible_name(&entry) else { continue };
        if !names.insert(name.clone()) {
            return Err(ExtractError::Duplicate(name));
        }
        if members.len() == MAX_MEMBERS {
            return Err(ExtractError::TooManyMembers);
        }
        // Nobody will read it: it need not be written to find that out.
        if name.ends_with(".json") && entry.size > MAX_DOCUMENT_SIZE as u64 {
            return Err(ExtractError::LargeDocument(name, entry.size));
        }
        let mut report = || {
            let input_bytes = counter.get();
            if input_bytes >= reported + PROGRESS_STEP {
                reported = input_bytes;
                progress(Progress { input_bytes, entries: 0 });
            }
        };
        let content = match entry.kind {
            Kind::File => {
                let file = members.len();
                let output = create(scratch, &file.to_string())
                    .map_err(|source| ExtractError::Write { name: name.clone(), source })?;
                write_member(output, &name, &entry, &mut reader, &mut report)?;
                size_bytes += entry.size;
                MemberContent::File { file, size: entry.size }
            }
            _ => MemberContent::Link { link: resolve_link(&name, &entry)? },
        };
        members.push(Member { name, content });
    }
    if reader.entries() == 0 {
        return Err(ExtractError::Empty);
    }
    write_table(scratch, &members)
        .map_err(|source| ExtractError::Write { name: MEMBERS_FILE.into(), source })?;
    Ok(Outcome {
        compression,
        input_digest: None,
        diff_id: None,
        input_bytes: counter.get(),
        output_bytes: 0,
        entries: reader.entries(),
        size_bytes,
        skipped_xattrs: 0,
    })
}

/// What is wrong with the very first header is usually that it is none.
fn first_error(error: TarError, entries: u64) -> ExtractError {
    match error.problem {
        crate::tar::Problem::Checksum if entries == 0 => ExtractError::NotAnArchive,
        _ => ExtractError::Tar(error),
    }
}

/// The normal form of a member's name, if it can be a part of an image: documents and layers.
fn plausible_name(entry: &Entry) -> Option<String> {
    if !matches!(entry.kind, Kind::File | Kind::Symlink | Kind::HardLink)
        || entry.path.len() > MAX_NAME_LENGTH
    {
        return None;
    }
    let path = std::str::from_utf8(&entry.path).ok()?;
    let name = normalized(path)?;
    let last = name.rsplit('/').next().unwrap_or(&name);
    let is_layer = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|suffix| last.ends_with(suffix));
    let is_document = last.ends_with(".json") || last.starts_with("sha256:");
    let is_marker = matches!(name.as_str(), "oci-layout" | "repositories");
    let is_blob = name.starts_with("blobs/") && name.split('/').count() == 3;
    (is_layer || is_document || is_marker || is_blob).then_some(name)
}

/// Without empty components, `.` and `..`; nothing when `..` leaves the archive or nothing is left.
fn normalized(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// What a link of the archive means, as a member's name. Symbolic links start at their own directory.
fn resolve_link(name: &str, entry: &Entry) -> Result<String, ExtractError> {
    let leaves = || ExtractError::LinkLeaves(name.to_owned());
    let target = std::str::from_utf8(&entry.link).map_err(|_| leaves())?;
    let path = match (entry.kind, name.rsplit_once('/')) {
        (Kind::Symlink, Some((directory, _))) if !target.starts_with('/') => format!("{directory}/{target}"),
        _ => target.to_owned(),
    };
    normalized(&path).ok_or_else(leaves)
}

fn write_member<R: io::BufRead>(
    mut output: File,
    name: &str,
    entry: &Entry,
    reader: &mut Reader<R>,
    report: &mut dyn FnMut(),
) -> Result<(), ExtractError> {
    if entry.extents.is_some() {
        return Err(ExtractError::Sparse(entry.path.clone()));
    }
    let failed = |source| ExtractError::Write { name: name.to_owned(), source };
    loop {
        let bytes = reader.content().map_err(ExtractError::Tar)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let length = bytes.len();
        output.write_all(bytes).map_err(failed)?;
        reader.consume(length);
        report();
    }
}

fn write_table(scratch: &OwnedFd, members: &[Member]) -> io::Result<()> {
    let mut output = BufWriter::new(create(scratch, MEMBERS_FILE)?);
    serde_json::to_writer(&mut output, members)?;
    output.flush()
}

fn create(scratch: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(scratch, name, flags, Mode::RUSR | Mode::WUSR)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, path: &str, link: &str) -> Entry {
        Entry { mode: 0, link: link.into(), ..Entry::new(kind, path) }
    }

    #[test]
    fn only_parts_of_images_are_taken() {
        let taken = [
            "./index.json",
            "oci-layout",
            "blobs/sha256/00",
            "manifest.json",
            "a/layer.tar",
            "a.tar.gz",
            "sha256:ab",
        ];
        for name in taken {
            assert!(plausible_name(&entry(Kind::File, name, "")).is_some(), "{name}");
        }
        for name in [
            "VERSION",
            "a/json",
            "../index.json",
            "a/../../x.json",
            "blobs/x",
            "blobs/a/b/c",
            "etc/passwd",
            ".",
        ] {
            assert_eq!(plausible_name(&entry(Kind::File, name, "")), None, "{name}");
        }
        assert_eq!(plausible_name(&entry(Kind::Fifo, "index.json", "")), None);
        assert_eq!(plausible_name(&entry(Kind::File, &format!("{}.json", "a".repeat(512)), "")), None);
    }

    #[test]
    fn links_are_names_of_members() {
        let link = |kind, path: &str, target: &str| resolve_link(path, &entry(kind, path, target)).ok();
        assert_eq!(link(Kind::Symlink, "a/layer.tar", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(link(Kind::Symlink, "a/layer.tar", "../../x.tar"), None);
        assert_eq!(link(Kind::HardLink, "a/layer.tar", "b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(link(Kind::Symlink, "a/layer.tar", "/etc/x.tar").as_deref(), Some("etc/x.tar"));
    }
}
