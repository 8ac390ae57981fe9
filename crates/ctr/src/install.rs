//! `ctr install`: the programs of an image (what is directly in `bin`, and in `lib`) onto this machine.
//!
//! They are unpacked layer by layer beside the folder that they are for, and moved there when all of them are there and none is in the
//! way of another: a failure installs nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use grpc::introspection::PluginsRequest;
use image::tar::{Entry, Kind, Reader};
use oci::platform::Platform;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::fs::{chownat, fchmod, fchown, fsetxattr, futimens, utimensat};
use rustix::io::Errno;

use crate::blocking::blocking;
use crate::client::Client;
use crate::content::Blob;
use crate::error::Error;
use crate::grammar::Call;
use crate::images;
use crate::images::tree::Stock;
use crate::leases::generated;

const BUFFER_BYTES: usize = 256 << 10;
/// What a layer calls a file that is not there any more in it, and a folder of which nothing is.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

pub(crate) async fn install(call: &Call) -> Result<u8, Error> {
    let name = call.operand(0);
    if name.is_empty() {
        return Err(Error::Usage("please provide an image reference to install".into()));
    }
    let client = Client::connect(call).await?;
    let image = images::get(&client, name).await?;
    let target = folder(call, &client).await?;
    let stock = Stock::of(&client, &image.target.unwrap_or_default()).await?;
    let node = stock.image(&Platform::host()).ok_or_else(|| {
        Error::Usage(format!("image {name:?} has nothing for this machine's platform: not found"))
    })?;
    let layers: Vec<_> = node.children.iter().skip(1).map(|layer| layer.digest.clone()).collect();
    let (has_libraries, replaces) = (call.is("libs"), call.is("replace"));
    blocking(move || {
        let stage = Stage::new(&target, has_libraries)?;
        // One after the other: what nobody reads yet would hold up what is read.
        for digest in layers {
            stage.take(Blob::open(&client, &digest), &digest)?;
        }
        stage.finish(&target, replaces)
    })
    .await?;
    Ok(0)
}

/// Where programs are installed: where the command line says, or where the daemon looks for them.
async fn folder(call: &Call, client: &Client) -> Result<PathBuf, Error> {
    if !call.text("path").is_empty() {
        return Ok(call.text("path").into());
    }
    let filters = vec!["id==opt".to_owned()];
    let found = client.introspection().plugins(PluginsRequest { filters }).await?.into_inner().plugins;
    let [plugin] = &found[..] else {
        let hint = "this daemon has no folder for programs: name one with --path";
        return Err(Error::Advised { text: "opt service not enabled".into(), hint });
    };
    match plugin.exports.get("path").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => {
            Err(Error::Advised { text: "opt path not exported".into(), hint: "name a folder with --path" })
        }
    }
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let what = format!("{what} {}", path.display());
    move |source| Error::File { what, source }
}

/// Files on their way.
struct Stage {
    folder: PathBuf,
    /// The folders whose files are taken.
    wanted: &'static [&'static str],
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What was moved is not here any more; nobody can be told more of what cannot be removed.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Stage {
    fn new(target: &Path, has_libraries: bool) -> Result<Stage, Error> {
        let folder = target.join(format!(".install-{}", generated()));
        let wanted: &[&str] = if has_libraries { &["bin", "lib"] } else { &["bin"] };
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let stage = Stage { folder, wanted };
        for name in wanted {
            let folder = stage.folder.join(name);
            fs::create_dir(&folder).map_err(failed("make", &folder))?;
        }
        Ok(stage)
    }

    /// Takes what is wanted of a layer.
    fn take(&self, blob: Blob, digest: &str) -> Result<(), Error> {
        let read = |source| Error::File { what: format!("read layer {digest}"), source };
        let wrong = |reason: String| Error::Document { what: format!("layer {digest}"), reason };
        let input = image::decompressed(blob).map_err(read)?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, input));
        while let Some(entry) = reader.next_entry().map_err(|error| wrong(told(&error)))? {
            let Some(path) = self.place(&entry.path) else { continue };
            let name = path.file_name().unwrap_or_default().as_bytes();
            if name == OPAQUE {
                let folder = path.parent().unwrap_or(&self.folder);
                fs::remove_dir_all(folder)
                    .and_then(|()| fs::create_dir(folder))
                    .map_err(failed("empty", folder))?;
                continue;
            }
            let hidden = name.strip_prefix(WHITEOUT);
            let before =
                hidden.map_or_else(|| path.clone(), |name| path.with_file_name(OsStr::from_bytes(name)));
            match fs::remove_file(&before) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &before)(error));
                }
                _ if hidden.is_some() => continue,
                _ => {}
            }
            self.make(&path, &entry, &mut reader, digest)?;
        }
        Ok(())
    }

    fn make<R: BufRead>(
        &self,
        path: &Path,
        entry: &Entry,
        reader: &mut Reader<R>,
        digest: &str,
    ) -> Result<(), Error> {
        let wrong = |reason: String| Error::Document { what: format!("layer {digest}"), reason };
        let member = String::from_utf8_lossy(&entry.path);
        match entry.kind {
            Kind::File if entry.extents.is_none() => write(path, entry, reader)
                .map_err(|error| wrong(told(&error)))?
                .map_err(failed("write", path)),
            Kind::File => Err(wrong(format!("{member} is a file with holes"))),
            Kind::Symlink => symlink(path, entry).map_err(failed("write", path)),
            Kind::HardLink => match self.place(&entry.link) {
                Some(other) => fs::hard_link(&other, path).map_err(failed("link", path)),
                None => Err(wrong(format!("{member} is a link to what is not installed"))),
            },
            // A folder is no program.
            Kind::Directory => Ok(()),
            kind => Err(wrong(format!("{member} is a {kind}, and no program"))),
        }
    }

    /// Where a member comes to: one that is directly in a folder that is wanted.
    fn place(&self, member: &[u8]) -> Option<PathBuf> {
        let parts = member.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let parts: Vec<&[u8]> = parts.collect();
        let [folder, name] = parts[..] else { return None };
        let folder = self.wanted.iter().find(|wanted| wanted.as_bytes() == folder)?;
        (name != b"..").then(|| self.folder.join(folder).join(OsStr::from_bytes(name)))
    }

    /// Moves everything to where it belongs.
    fn finish(self, target: &Path, replaces: bool) -> Result<(), Error> {
        let mut moves = Vec::new();
        for folder in self.wanted {
            let from = self.folder.join(folder);
            for entry in fs::read_dir(&from).map_err(failed("read", &from))? {
                let entry = entry.map_err(failed("read", &from))?;
                let to = target.join(folder).join(entry.file_name());
                if !replaces && to.symlink_metadata().is_ok() {
                    let text = format!(
                        "cannot replace {}/{} in {}",
                        folder,
                        entry.file_name().display(),
                        target.display()
                    );
                    return Err(Error::Advised { text, hint: "--replace takes what is there away" });
                }
                moves.push((entry.path(), to));
            }
        }
        for (from, to) in moves {
            let folder = to.parent().unwrap_or(target);
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
            fs::rename(&from, &to).map_err(failed("install", &to))?;
        }
        Ok(())
    }
}

fn told(error: &image::tar::TarError) -> String {
    format!("{error}: {}", error.problem)
}

/// A file of the content that the reader is at.
fn write<R: BufRead>(
    path: &Path,
    entry: &Entry,
    reader: &mut Reader<R>,
) -> Result<io::Result<()>, image::tar::TarError> {
    let mut file = match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        let content = reader.content()?;
        let length = content.len();
        if length == 0 {
            return Ok(attributes(&file, entry));
        }
        if let Err(error) = file.write_all(content) {
            return Ok(Err(error));
        }
        reader.consume(length);
    }
}

/// Owner before mode: a change of owner takes bits of the mode away.
fn attributes(file: &File, entry: &Entry) -> io::Result<()> {
    fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(file, Mode::from_raw_mode(entry.mode))?;
    // What steers an overlay means nothing here.
    for xattr in entry.xattrs.iter().filter(|xattr| !xattr.name.starts_with(b"trusted.")) {
        match fsetxattr(file, OsStr::from_bytes(&xattr.name), &xattr.value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    futimens(file, &times(entry))?;
    Ok(())
}

fn symlink(path: &Path, entry: &Entry) -> io::Result<()> {
    std::os::unix::fs::symlink(OsStr::from_bytes(&entry.link), path)?;
    let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    chownat(CWD, path, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(CWD, path, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.seconds, tv_nsec: entry.mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
