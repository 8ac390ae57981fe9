//! One 512-byte header block: its fields, their encodings, its checksum.
//!
//! ```text
//! 0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8 | 156 type 1
//! 157 link 100 | 257 magic 6+2 | 265 user 32 | 297 group 32 | 329 major 8 | 337 minor 8 | 345 prefix 155
//! ```
//!
//! Numbers are octal text, or (GNU, star) big-endian two's complement with the first bit set.

use super::{BLOCK_SIZE, Kind, Problem, Time};

const POSIX_MAGIC: &[u8] = b"ustar\0";

pub(super) struct Header<'a>(&'a [u8; BLOCK_SIZE]);

impl<'a> Header<'a> {
    pub(super) fn new(block: &'a [u8; BLOCK_SIZE]) -> Header<'a> {
        Header(block)
    }

    /// Verifies the checksum. Old writers summed signed bytes; both sums are accepted, as everybody does.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let stated = number(&self.0[148..156]).ok_or(Problem::Checksum)?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (position, &byte) in self.0.iter().enumerate() {
            // The checksum's own field counts as spaces.
            let byte = if (148..156).contains(&position) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stated == unsigned || stated == signed { Ok(()) } else { Err(Problem::Checksum) }
    }

    /// The type flag.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with POSIX's prefix in front of it.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = if &self.0[257..263] == POSIX_MAGIC { text(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// What the entry is. A file whose name ends with a slash is a directory in archives of the old kind.
    pub(super) fn entry_kind(&self, path: &[u8]) -> Result<Kind, Problem> {
        Ok(match self.kind() {
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Problem::Type(other)),
        })
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        self.number(124..136, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        // Some writers put the file type into the mode, too; the type flag decides.
        let mode: u64 = self.number(100..108, "mode")?;
        Ok(u32::try_from(mode & 0o7777).expect("twelve bits"))
    }

    /// The owner or group: what pax says, else the header. The largest number means "no owner" to the kernel.
    pub(super) fn id(&self, from_pax: Option<u64>, field: &'static str) -> Result<u32, Problem> {
        let id = match (from_pax, field) {
            (Some(id), _) => id,
            (None, "user id") => self.number(108..116, field)?,
            (None, _) => self.number(116..124, field)?,
        };
        u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(Problem::Number { field })
    }

    pub(super) fn mtime(&self) -> Result<Time, Problem> {
        let seconds = number(&self.0[136..148]).ok_or(Problem::Number { field: "modification time" })?;
        Ok(Time { seconds, nanoseconds: 0 })
    }

    pub(super) fn device(&self) -> Result<(u32, u32), Problem> {
        let narrow = |value: u64, field| u32::try_from(value).map_err(|_| Problem::Number { field });
        let major = narrow(self.number(329..337, "major device number")?, "major device number")?;
        let minor = narrow(self.number(337..345, "minor device number")?, "minor device number")?;
        Ok((major, minor))
    }

    pub(super) fn number(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<u64, Problem> {
        number(&self.0[range]).and_then(|value| u64::try_from(value).ok()).ok_or(Problem::Number { field })
    }

    pub(super) fn bytes(&self) -> &'a [u8; BLOCK_SIZE] {
        self.0
    }
}

/// A field up to its NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in either encoding. Empty means zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        return binary(field);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(is_blank) {
        return None;
    }
    digits[..end].iter().try_fold(0i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Big-endian two's complement; the first bit only marks the encoding, the second is the sign.
fn binary(field: &[u8]) -> Option<i64> {
    let is_negative = field[0] & 0x40 != 0;
    let first = if is_negative { field[0] } else { field[0] & 0x7f };
    let mut value: i128 = if is_negative { -1 } else { 0 };
    for byte in std::iter::once(&first).chain(&field[1..]) {
        // Twelve bytes never overflow the 128 bits.
        value = (value << 8) | i128::from(*byte);
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_in_both_encodings() {
        let cases: [(&[u8], Option<i64>); 18] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77777777777)),
            (b"777777777777", Some(0o777777777777)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"64\x000644\0", None),
            (b"0x1f\0\0\0\0", None),
            (b"6 4\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
