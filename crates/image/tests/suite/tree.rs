//! A directory tree as comparable values.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// All that can be compared of a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) device: u64,
    /// Content of a file, target of a link.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
    /// The first path that is the same file.
    pub(crate) linked_to: Option<PathBuf>,
    pub(crate) inode: u64,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:o} {:?} {:?} dev {:x} {} bytes",
            self.mode,
            self.owner,
            self.mtime,
            self.device,
            self.content.len()
        )?;
        if self.content.len() < 64 {
            write!(f, " {:?}", String::from_utf8_lossy(&self.content))?;
        }
        if let Some(path) = &self.linked_to {
            write!(f, " = {}", path.display())?;
        }
        self.xattrs.iter().try_for_each(|(name, value)| write!(f, " {name}={}", value.escape_ascii()))
    }
}

/// Everything below a folder, with the folder itself, sorted by path.
pub(crate) fn read(root: &Path) -> Vec<(PathBuf, Node)> {
    let mut nodes = with_inodes(root);
    nodes.iter_mut().for_each(|(_, node)| node.inode = 0);
    nodes
}

pub(crate) fn with_inodes(root: &Path) -> Vec<(PathBuf, Node)> {
    let mut paths = vec![root.to_owned()];
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut first: HashMap<u64, PathBuf> = HashMap::new();
    let mut nodes = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let data = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = match data.file_type() {
            kind if kind.is_file() => fs::read(&path).unwrap(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let linked_to = if data.nlink() > 1 && !data.is_dir() {
            let known = first.entry(data.ino()).or_insert_with(|| relative.clone());
            (*known != relative).then(|| known.clone())
        } else {
            None
        };
        let node = Node {
            mode: data.mode(),
            owner: (data.uid(), data.gid()),
            mtime: (data.mtime(), data.mtime_nsec()),
            device: data.rdev(),
            content,
            xattrs: xattrs(&path),
            linked_to,
            inode: data.ino(),
        };
        nodes.push((relative, node));
    }
    nodes
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8(name.to_vec()).unwrap();
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
        found.push((name, value[..length].to_vec()));
    }
    found.sort();
    found
}

/// The paths of a tree, for messages and small comparisons.
pub(crate) fn paths(root: &Path) -> Vec<String> {
    read(root)
        .into_iter()
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

/// Compares two trees, telling the first difference only.
pub(crate) fn assert_same(left: &Path, right: &Path, case: &str) {
    let (left, right) = (read(left), read(right));
    for pair in left.iter().zip(&right) {
        let ((left_path, left), (right_path, right)) = pair;
        assert_eq!(left_path, right_path, "{case}: one tree lacks a path");
        assert_eq!(left, right, "{case}: {}", left_path.display());
    }
    assert_eq!(left.len(), right.len(), "{case}: one tree is longer");
}
