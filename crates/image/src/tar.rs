//! A streaming reader of tar archives from hostile hands: POSIX ustar and pax, GNU, and plain v7. And a [`Writer`].
//!
//! The rule of this reader: **one archive, one meaning**. Where GNU tar, Go's `archive/tar` and libarchive would
//! read the same bytes differently, an attacker can show one tree to a scanner and another to the machine
//! (CVE-2025-62518 and its relatives), so such archives are refused:
//!
//! * the size of an entry has one source: pax `size` when there is one, else the header; a pax record never
//!   applies to the GNU long-name entries between it and its file;
//! * an entry without content (directory, link, device) must not announce any;
//! * an entry is named either by GNU long names or by pax, and by each only once;
//! * a global pax header may not set names or sizes.
//!
//! ```text
//! archive := { entry } [ zero block, zero block, anything ]
//! entry   := { 'x' pax | 'L' long name | 'K' long link | 'g' global pax } header content padding
//! ```
//!
//! The reader borrows from its input's buffer and allocates only names. All its bounds are constants below.

use std::fmt;
use std::io::{self, BufRead, ErrorKind};

mod header;
mod pax;
mod sparse;
mod write;

use header::Header;
use pax::Pax;
pub use sparse::Extent;
use sparse::PaxSparse;
pub use write::Writer;

/// The unit of a tar archive.
const BLOCK_SIZE: usize = 512;
/// Longest name or link target: the kernel's `PATH_MAX`.
pub const MAX_PATH_LENGTH: usize = 4096;
/// Largest pax header; the kernel takes 64 KiB for one extended attribute, and few files have more than two.
pub const MAX_PAX_SIZE: u64 = 1 << 20;
/// Most entries of one archive: the largest real layers (package caches) stay below 500,000.
pub const MAX_ENTRIES: u64 = 4_000_000;
/// Largest single file, holes included.
pub const MAX_FILE_SIZE: u64 = 1 << 40;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::File => "file",
            Kind::HardLink => "hard link",
            Kind::Symlink => "symbolic link",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
            Kind::Directory => "directory",
            Kind::Fifo => "fifo",
        })
    }
}

/// Seconds and nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Everything about an entry but its content. Names are bytes, as the archive has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Bytes of a file, holes included.
    pub size: u64,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    pub xattrs: Vec<Xattr>,
    /// Where the content goes, when the file has holes.
    pub extents: Option<Vec<Extent>>,
}

impl Entry {
    /// An entry without content: root's, made when time began, that everybody may read.
    pub fn new(kind: Kind, path: impl Into<Vec<u8>>) -> Entry {
        Entry {
            path: path.into(),
            kind,
            size: 0,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            extents: None,
        }
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// What is wrong with an archive, and where.
#[derive(Debug, thiserror::Error)]
pub struct TarError {
    /// The entry, when its name is known.
    pub path: Option<Vec<u8>>,
    /// Byte of the archive at which reading stopped.
    pub offset: u64,
    #[source]
    pub problem: Problem,
}

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the header's checksum is wrong")]
    Checksum,
    #[error("it is a {0} and announces {1} bytes of content")]
    ContentOfContentless(Kind, u64),
    #[error("a global pax header sets `{0}`")]
    GlobalRecord(String),
    #[error("a single zero block is followed by data")]
    LoneZeroBlock,
    #[error("it is named twice by extension headers, which readers understand differently")]
    NamedTwice,
    #[error("the name contains a NUL")]
    NameWithNul,
    #[error("it is a {0} without a target")]
    NoTarget(Kind),
    #[error("the {field} is not a number that fits")]
    Number { field: &'static str },
    #[error("an extension header is not followed by an entry")]
    Orphan,
    #[error("the pax header is malformed")]
    Pax,
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    #[error("the map of its holes is wrong")]
    Sparse,
    #[error("{what} is larger than {limit}")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("the archive is truncated")]
    Truncated,
    #[error("its type `{}` is not supported", .0.escape_ascii())]
    Type(u8),
    #[error("it uses the sparse format of {0}, which is not supported")]
    UnsupportedSparse(&'static str),
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "entry {} at byte {}", Quoted(path), self.offset),
            None => write!(f, "at byte {}", self.offset),
        }
    }
}

/// Bytes of an archive in an error message: escaped, in quotes, not too long.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let text = String::from_utf8_lossy(&self.0[..self.0.len().min(LONGEST)]);
        let rest = if self.0.len() > LONGEST { "…" } else { "" };
        write!(f, "\"{}{rest}\"", text.escape_debug())
    }
}

/// The names that extension headers announce for the next entry.
#[derive(Debug, Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

/// Reads entries one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes of the input that were consumed.
    offset: u64,
    /// Content of the current entry that was not consumed.
    remaining: u64,
    /// Bytes that fill the current entry's last block.
    padding: u64,
    entries: u64,
    global: Pax,
    is_at_end: bool,
    has_end_mark: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the beginning of an archive.
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            offset: 0,
            remaining: 0,
            padding: 0,
            entries: 0,
            global: Pax::default(),
            is_at_end: false,
            has_end_mark: false,
        }
    }

    /// The next entry; what is left of the current one's content is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_content().map_err(|problem| self.error(None, problem))?;
        let mut pending = Pending::default();
        loop {
            let block = match self.read_header_block() {
                Ok(Some(block)) => block,
                Ok(None) if pending.is_empty() => return Ok(None),
                Ok(None) => return Err(self.error(None, Problem::Orphan)),
                Err(problem) => return Err(self.error(None, problem)),
            };
            let header = Header::new(&block);
            let extension = self.read_extension(&header, &mut pending);
            if extension.map_err(|problem| self.error(Some(header.path()), problem))? {
                continue;
            }
            let path = pending.path().unwrap_or_else(|| header.path());
            return match self.entry(&header, pending) {
                Ok(entry) => Ok(Some(entry)),
                Err(problem) => Err(self.error(Some(path), problem)),
            };
        }
    }

    /// The next piece of the current entry's content; empty at its end. Follow with [`Reader::consume`].
    pub fn content(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let (offset, remaining) = (self.offset, usize::try_from(self.remaining).unwrap_or(usize::MAX));
        let error = |problem| TarError { path: None, offset, problem };
        match fill(&mut self.input) {
            Ok([]) => Err(error(Problem::Truncated)),
            Ok(bytes) => Ok(&bytes[..bytes.len().min(remaining)]),
            Err(problem) => Err(error(problem)),
        }
    }

    /// Marks bytes of [`Reader::content`] as read.
    pub fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.offset += length as u64;
        self.remaining -= length as u64;
    }

    /// Whether the archive ended with its two zero blocks: an archive without them may have lost entries.
    pub fn has_end_mark(&self) -> bool {
        self.has_end_mark
    }

    /// The entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Gives the input back, to read what follows the end mark.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn error(&self, path: Option<Vec<u8>>, problem: Problem) -> TarError {
        TarError { path, offset: self.offset, problem }
    }

    /// Takes in an extension header; `false` when the header is an entry's own.
    fn read_extension(&mut self, header: &Header<'_>, pending: &mut Pending) -> Result<bool, Problem> {
        let slot = match header.kind() {
            b'x' => {
                let records = self.read_small("a pax header", MAX_PAX_SIZE, header)?;
                if pending.pax.replace(Pax::parse(&records)?).is_some() {
                    return Err(Problem::NamedTwice);
                }
                return Ok(true);
            }
            b'g' => {
                let records = self.read_small("a pax header", MAX_PAX_SIZE, header)?;
                self.global.merge_global(Pax::parse(&records)?)?;
                return Ok(true);
            }
            b'L' => &mut pending.long_name,
            b'K' => &mut pending.long_link,
            _ => return Ok(false),
        };
        // One byte more for the NUL at its end.
        let mut name = self.read_small("a long name", MAX_PATH_LENGTH as u64 + 1, header)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        if name[end..].iter().any(|&byte| byte != 0) {
            return Err(Problem::NameWithNul);
        }
        name.truncate(end);
        match slot.replace(name) {
            Some(_) => Err(Problem::NamedTwice),
            None => Ok(true),
        }
    }

    fn entry(&mut self, header: &Header<'_>, pending: Pending) -> Result<Entry, Problem> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Problem::TooLarge { what: "the number of entries", limit: MAX_ENTRIES });
        }
        if pending.is_named_twice() {
            return Err(Problem::NamedTwice);
        }
        let Pending { pax, long_name, long_link } = pending;
        let pax = pax.unwrap_or_default();
        let (global, pax_path, pax_link) = (&self.global, pax.path, pax.link);
        let mut entry = Entry {
            path: pax_path.or(long_name).unwrap_or_else(|| header.path()),
            kind: Kind::File,
            size: match pax.size {
                Some(size) => size,
                None => header.size()?,
            },
            mode: header.mode()?,
            uid: header.id(pax.uid.or(global.uid), "user id")?,
            gid: header.id(pax.gid.or(global.gid), "group id")?,
            mtime: match pax.mtime.or(global.mtime) {
                Some(time) => time,
                None => header.mtime()?,
            },
            link: pax_link.or(long_link).unwrap_or_else(|| header.link()),
            device: (0, 0),
            xattrs: pax.xattrs,
            extents: None,
        };
        entry.kind = header.entry_kind(&entry.path)?;
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            entry.device = header.device()?;
        }
        check_bounds(&entry)?;
        self.remaining = entry.size;
        self.padding = padding_of(entry.size);
        if header.kind() == b'S' {
            self.read_old_sparse(header, &mut entry)?;
        } else if let Some(sparse) = pax.sparse {
            self.read_pax_sparse(sparse, &mut entry)?;
        }
        if entry.size > MAX_FILE_SIZE {
            return Err(Problem::TooLarge { what: "the file", limit: MAX_FILE_SIZE });
        }
        Ok(entry)
    }

    fn read_small(
        &mut self,
        what: &'static str,
        limit: u64,
        header: &Header<'_>,
    ) -> Result<Vec<u8>, Problem> {
        let size = header.size()?;
        if size > limit {
            return Err(Problem::TooLarge { what, limit });
        }
        let mut bytes = vec![0; usize::try_from(size).expect("it is below a small limit")];
        self.read_exact(&mut bytes)?;
        self.skip(padding_of(size))?;
        Ok(bytes)
    }

    /// The next header, or nothing at the archive's end.
    fn read_header_block(&mut self) -> Result<Option<[u8; BLOCK_SIZE]>, Problem> {
        let mut block = [0; BLOCK_SIZE];
        if self.is_at_end || fill(&mut self.input)?.is_empty() {
            self.is_at_end = true;
            return Ok(None);
        }
        self.read_exact(&mut block)?;
        if block != [0; BLOCK_SIZE] {
            Header::new(&block).check()?;
            return Ok(Some(block));
        }
        self.is_at_end = true;
        if fill(&mut self.input)?.is_empty() {
            return Ok(None);
        }
        self.read_exact(&mut block)?;
        if block != [0; BLOCK_SIZE] {
            return Err(Problem::LoneZeroBlock);
        }
        self.has_end_mark = true;
        Ok(None)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Problem::Truncated),
            Err(error) => Err(Problem::Read(error)),
        }
    }

    fn skip_content(&mut self) -> Result<(), Problem> {
        let length = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        self.skip(length)
    }

    fn skip(&mut self, mut length: u64) -> Result<(), Problem> {
        while length > 0 {
            let available = fill(&mut self.input)?.len();
            if available == 0 {
                return Err(Problem::Truncated);
            }
            let step = available.min(usize::try_from(length).unwrap_or(usize::MAX));
            self.input.consume(step);
            self.offset += step as u64;
            length -= step as u64;
        }
        Ok(())
    }
}

impl Pending {
    fn path(&self) -> Option<Vec<u8>> {
        self.pax.as_ref().and_then(|pax| pax.path.clone()).or_else(|| self.long_name.clone())
    }

    fn is_named_twice(&self) -> bool {
        self.pax.as_ref().is_some_and(|pax| {
            let is_path_set =
                pax.path.is_some() || pax.sparse.as_ref().is_some_and(PaxSparse::names_the_file);
            (is_path_set && self.long_name.is_some()) || (pax.link.is_some() && self.long_link.is_some())
        })
    }
}

fn check_bounds(entry: &Entry) -> Result<(), Problem> {
    if entry.path.len() > MAX_PATH_LENGTH || entry.link.len() > MAX_PATH_LENGTH {
        return Err(Problem::TooLarge { what: "the name", limit: MAX_PATH_LENGTH as u64 });
    }
    if entry.path.contains(&0) || entry.link.contains(&0) {
        return Err(Problem::NameWithNul);
    }
    if entry.kind != Kind::File && entry.size != 0 {
        return Err(Problem::ContentOfContentless(entry.kind, entry.size));
    }
    if matches!(entry.kind, Kind::Symlink | Kind::HardLink) && entry.link.is_empty() {
        return Err(Problem::NoTarget(entry.kind));
    }
    // Before anything is added to it, so that no sum can overflow.
    if entry.size > MAX_FILE_SIZE {
        return Err(Problem::TooLarge { what: "the file", limit: MAX_FILE_SIZE });
    }
    Ok(())
}

fn padding_of(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_SIZE as u64) - size
}

/// As `fill_buf`, but an interrupted system call is repeated.
fn fill<R: BufRead>(input: &mut R) -> Result<&[u8], Problem> {
    while let Err(error) = input.fill_buf() {
        match error.kind() {
            ErrorKind::Interrupted => {}
            // A decompressor's stream ended in its middle.
            ErrorKind::UnexpectedEof => return Err(Problem::Truncated),
            _ => return Err(Problem::Read(error)),
        }
    }
    // Asked again, because a slice that leaves the loop would be borrowed through all of it; it is there.
    input.fill_buf().map_err(Problem::Read)
}
