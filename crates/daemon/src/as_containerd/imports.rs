//! The file and those that it imports, breadth first: what is read later comes first.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::document::Document;
use crate::config::MAX_CONFIG_BYTES;
use crate::error::Error;

/// More than any installation has; a folder that was named by mistake is told, and not read.
const FILES_MAX: usize = 256;

/// A file alone.
pub(super) fn read(path: &Path) -> Result<Document, Error> {
    let failed = |source| Error::ReadConfig { path: path.to_owned(), source };
    // A pipe would be waited for.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Document::parse(path, &text)
}

/// A document and all that it and its imports name; `path` is where it is, or would be.
pub(super) fn follow(path: &Path, mut document: Document) -> Result<Document, Error> {
    let mut seen: BTreeSet<PathBuf> = BTreeSet::from([identity(path)]);
    let mut waiting: VecDeque<PathBuf> = named(path, &document)?.into();
    while let Some(next) = waiting.pop_front() {
        if !seen.insert(identity(&next)) {
            continue;
        }
        if seen.len() > FILES_MAX {
            let message = format!("more than {FILES_MAX} files are imported");
            return Err(Error::ContainerdConfig { path: path.to_owned(), message });
        }
        let imported = read(&next)?;
        waiting.extend(named(&next, &imported)?);
        document.merge(imported);
    }
    Ok(document)
}

/// Two names of one file are one file.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files that a document names, relative to its own folder.
fn named(path: &Path, document: &Document) -> Result<Vec<PathBuf>, Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for import in document.imports() {
        let pattern = folder.join(&import);
        if import.contains(['*', '?']) {
            files.extend(expand(&pattern).map_err(|source| Error::ReadConfig { path: pattern, source })?);
        } else {
            files.push(pattern);
        }
    }
    Ok(files)
}

/// The paths that a pattern means, in order; `*` and `?` stand for what is between two slashes.
fn expand(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !matches!(part, Component::Normal(_)) || !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            next.extend(entries(&folder, text.as_bytes())?);
            if next.len() > FILES_MAX {
                return Err(io::Error::other(format!("it means more than {FILES_MAX} files")));
            }
        }
        found = next;
    }
    Ok(found.into_iter().filter(|path| path.exists()).collect())
}

fn entries(folder: &Path, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
    let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let listed = match fs::read_dir(at) {
        Ok(listed) => listed,
        // Nothing is there that the pattern could mean.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in listed {
        let name = entry?.file_name();
        if is_match(pattern, name.as_encoded_bytes()) {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a name is one that a pattern means.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where the last star was, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[of] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((before, taken)) = star else { return false };
                star = Some((before, taken + 1));
                (at, of) = (before + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn load(path: &Path) -> Result<Document, Error> {
        follow(path, read(path)?)
    }

    #[test]
    fn imports_are_followed_once_each_and_the_last_counts() {
        let folder = folder(&[
            (
                "main.toml",
                "version = 2\nroot = '/main'\noom_score = 1\nimports = ['conf.d/*.toml', 'gone/*.toml']",
            ),
            (
                "conf.d/a.toml",
                "version = 3\nroot = '/a'\nimports = ['../deep.toml', '../main.toml', 'a.toml']",
            ),
            ("conf.d/b.toml", "oom_score = 0\n[grpc]\naddress = '/b.sock'"),
            ("conf.d/c.conf", "root = '/c'"),
            ("deep.toml", "version = 4\nroot = '/deep'"),
        ]);
        let table = load(&folder.path().join("main.toml")).unwrap().complete();
        assert_eq!(table["root"].as_str(), Some("/deep"));
        assert_eq!(table["oom_score"].as_integer(), Some(0));
        let grpc = &table["plugins"]["io.containerd.server.v1.grpc"];
        assert_eq!(
            grpc["address"].as_str(),
            Some("/b.sock"),
            "a file of another version is migrated by itself"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_name() {
        let folder = folder(&[
            ("missing.toml", "imports = ['nosuch.toml']"),
            ("broken.toml", "imports = ['x.toml']"),
            ("x.toml", "= 1"),
            ("folder.toml", "imports = ['d*']"),
            ("dir/y.toml", ""),
        ]);
        for (name, expected) in [("missing", "nosuch.toml"), ("broken", "x.toml:1:1"), ("folder", "dir")] {
            let error = load(&folder.path().join(format!("{name}.toml"))).unwrap_err().chain();
            assert!(error.contains(expected), "{error}");
        }
        let large = folder.path().join("large.toml");
        fs::write(&large, vec![b'#'; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1]).unwrap();
        assert!(load(&large).unwrap_err().chain().contains("too large"));
    }

    #[test]
    fn more_files_than_anybody_has_are_refused() {
        let folder = folder(&[("main.toml", "imports = ['d/*']")]);
        fs::create_dir(folder.path().join("d")).unwrap();
        for number in 0..=FILES_MAX {
            fs::write(folder.path().join(format!("d/{number}")), "").unwrap();
        }
        assert!(load(&folder.path().join("main.toml")).is_err());
    }

    #[test]
    fn a_pattern_means_what_the_shell_means() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("?.toml", "ab.toml", false),
            ("*", "", true),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
