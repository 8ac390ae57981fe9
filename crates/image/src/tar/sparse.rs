//! Files with holes: GNU's old format (type `S`) and its three pax formats (0.0, 0.1, 1.0).
//!
//! The map lists the extents that have content, in order; everything between is a hole. A map is refused unless
//! its extents ascend, do not overlap, end within the file, and add up to the entry's content.

use std::io::BufRead;

use super::header::{self, Header};
use super::pax::decimal;
use super::{BLOCK_SIZE, Entry, Kind, MAX_FILE_SIZE, Problem, Reader};

/// Most extents of one file: a map is kept in memory, and a real one has a few thousand entries.
const MAX_EXTENTS: usize = 65_536;

/// A piece of a file that has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// What the `GNU.sparse.` records of a pax header say.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    version: (Option<u64>, Option<u64>),
    name: Option<Vec<u8>>,
    size: Option<u64>,
    extent_count: Option<u64>,
    /// An `offset` whose `numbytes` did not come yet.
    half: Option<u64>,
    extents: Vec<Extent>,
}

impl PaxSparse {
    /// Whether the entry's real name is in here.
    pub(super) fn names_the_file(&self) -> bool {
        self.name.is_some()
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let number = || decimal(value).filter(|&number| number <= MAX_FILE_SIZE).ok_or(Problem::Sparse);
        match key {
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"numblocks" => self.extent_count = Some(number()?),
            b"offset" if self.half.is_none() => self.half = Some(number()?),
            b"numbytes" => {
                let offset = self.half.take().ok_or(Problem::Sparse)?;
                self.push(Extent { offset, length: number()? })?;
            }
            b"map" => {
                for pair in value.split(|&byte| byte == b',').collect::<Vec<_>>().chunks(2) {
                    let [offset, length] = pair else { return Err(Problem::Sparse) };
                    let number = |text| decimal(text).ok_or(Problem::Sparse);
                    self.push(Extent { offset: number(offset)?, length: number(length)? })?;
                }
            }
            _ => return Err(Problem::Sparse),
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent) -> Result<(), Problem> {
        push(&mut self.extents, extent)
    }
}

impl<R: BufRead> Reader<R> {
    pub(super) fn read_pax_sparse(&mut self, sparse: PaxSparse, entry: &mut Entry) -> Result<(), Problem> {
        let size = sparse.size.ok_or(Problem::Sparse)?;
        if entry.kind != Kind::File || sparse.half.is_some() {
            return Err(Problem::Sparse);
        }
        let extents = match sparse.version {
            (Some(1), Some(0)) if sparse.extents.is_empty() => self.read_map()?,
            (None, None) if sparse.extent_count == Some(sparse.extents.len() as u64) => sparse.extents,
            _ => return Err(Problem::Sparse),
        };
        if let Some(name) = sparse.name {
            if name.is_empty() || name.contains(&0) || name.len() > super::MAX_PATH_LENGTH {
                return Err(Problem::Sparse);
            }
            entry.path = name;
        }
        self.set_extents(extents, size, entry)
    }

    /// The map of format 1.0: decimal lines in front of the content, filled up to a whole block.
    fn read_map(&mut self) -> Result<Vec<Extent>, Problem> {
        let mut lines = MapLines { block: [0; BLOCK_SIZE], position: BLOCK_SIZE };
        let count = lines.number(self)?;
        let mut extents = Vec::new();
        for _ in 0..count {
            let extent = Extent { offset: lines.number(self)?, length: lines.number(self)? };
            push(&mut extents, extent)?;
        }
        Ok(extents)
    }

    /// The map of the old format: four extents in the header, 21 in each block that follows it.
    pub(super) fn read_old_sparse(&mut self, header: &Header<'_>, entry: &mut Entry) -> Result<(), Problem> {
        let size = header.number(483..495, "size").map_err(|_| Problem::Sparse)?;
        let mut extents = Vec::new();
        push_old(&header.bytes()[386..482], &mut extents)?;
        let mut is_extended = header.bytes()[482] != 0;
        while is_extended {
            let mut block = [0; BLOCK_SIZE];
            self.read_exact(&mut block)?;
            push_old(&block[..504], &mut extents)?;
            is_extended = block[504] != 0;
        }
        self.set_extents(extents, size, entry)
    }

    fn set_extents(&self, extents: Vec<Extent>, size: u64, entry: &mut Entry) -> Result<(), Problem> {
        let (mut end, mut content) = (0, 0);
        for extent in &extents {
            if extent.offset < end || extent.offset > size || extent.length > size - extent.offset {
                return Err(Problem::Sparse);
            }
            end = extent.offset + extent.length;
            content += extent.length;
        }
        if content != self.remaining {
            return Err(Problem::Sparse);
        }
        entry.size = size;
        entry.extents = Some(extents);
        Ok(())
    }
}

fn push(extents: &mut Vec<Extent>, extent: Extent) -> Result<(), Problem> {
    if extents.len() == MAX_EXTENTS {
        return Err(Problem::TooLarge { what: "the number of extents", limit: MAX_EXTENTS as u64 });
    }
    extents.push(extent);
    Ok(())
}

fn push_old(fields: &[u8], extents: &mut Vec<Extent>) -> Result<(), Problem> {
    for pair in fields.chunks_exact(24) {
        // An unused pair is empty and ends the list.
        if pair[0] == 0 {
            break;
        }
        let number =
            |field| header::number(field).and_then(|value| u64::try_from(value).ok()).ok_or(Problem::Sparse);
        push(extents, Extent { offset: number(&pair[..12])?, length: number(&pair[12..])? })?;
    }
    Ok(())
}

/// Lines of a map in front of an entry's content, read block by block.
struct MapLines {
    block: [u8; BLOCK_SIZE],
    position: usize,
}

impl MapLines {
    fn number<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<u64, Problem> {
        let mut value = None;
        // Nineteen digits and a newline: more would not fit a number.
        for _ in 0..20 {
            match self.byte(reader)? {
                b'\n' => return value.ok_or(Problem::Sparse),
                byte @ b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    value = Some(value.unwrap_or(0u64) * 10 + digit);
                }
                _ => return Err(Problem::Sparse),
            }
        }
        Err(Problem::Sparse)
    }

    fn byte<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<u8, Problem> {
        if self.position == BLOCK_SIZE {
            reader.remaining = reader.remaining.checked_sub(BLOCK_SIZE as u64).ok_or(Problem::Sparse)?;
            reader.read_exact(&mut self.block)?;
            self.position = 0;
        }
        self.position += 1;
        Ok(self.block[self.position - 1])
    }
}
