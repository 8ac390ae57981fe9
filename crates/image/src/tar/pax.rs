//! Extended headers of POSIX.1-2001 (`pax`): records of the form `length key=value\n`.
//!
//! A malformed record refuses the archive: skipping it silently would let another reader see another archive.
//! Keys that say nothing about the tree (`atime`, `comment`, `uname`, …) are passed over. A later record of
//! the same key replaces an earlier one; an empty value takes it back.

use super::sparse::PaxSparse;
use super::{Problem, Time, Xattr};

/// The records that matter.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Option<PaxSparse>,
}

impl Pax {
    pub(super) fn parse(mut records: &[u8]) -> Result<Pax, Problem> {
        let mut pax = Pax::default();
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or(Problem::Pax)?;
            pax.set(key, value)?;
            records = rest;
        }
        Ok(pax)
    }

    /// Takes over a global header. It may set defaults for owners and times only: readers disagree on whether
    /// it names and measures entries.
    pub(super) fn merge_global(&mut self, global: Pax) -> Result<(), Problem> {
        let structural = [
            ("path", global.path.is_some()),
            ("linkpath", global.link.is_some()),
            ("size", global.size.is_some()),
            ("GNU.sparse", global.sparse.is_some()),
            ("xattr", !global.xattrs.is_empty()),
        ];
        if let Some((key, _)) = structural.iter().find(|(_, is_set)| *is_set) {
            return Err(Problem::GlobalRecord((*key).to_owned()));
        }
        self.uid = global.uid.or(self.uid);
        self.gid = global.gid.or(self.gid);
        self.mtime = global.mtime.or(self.mtime);
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            let sparse = self.sparse.get_or_insert_default();
            return sparse.set(key, value);
        }
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.set_xattr(name.to_vec(), value.to_vec());
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = decode_percent(name).ok_or(Problem::Pax)?;
            // The same writer states most attributes both ways; the unencoded one is kept.
            if self.xattrs.iter().any(|xattr| xattr.name == name) {
                return Ok(());
            }
            return self.set_xattr(name, decode_base64(value).ok_or(Problem::Pax)?);
        }
        let is_set = !value.is_empty();
        match key {
            b"path" => self.path = is_set.then(|| value.to_vec()),
            b"linkpath" => self.link = is_set.then(|| value.to_vec()),
            b"size" => self.size = optional_decimal(value, "size")?,
            b"uid" => self.uid = optional_decimal(value, "user id")?,
            b"gid" => self.gid = optional_decimal(value, "group id")?,
            b"mtime" if is_set => {
                self.mtime = Some(time(value).ok_or(Problem::Number { field: "modification time" })?);
            }
            b"mtime" => self.mtime = None,
            b"SCHILY.realsize" => return Err(Problem::UnsupportedSparse("star")),
            b"SUN.holesdata" => return Err(Problem::UnsupportedSparse("Solaris")),
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), Problem> {
        /// Longest name of an attribute (`XATTR_NAME_MAX`).
        const MAX_NAME_LENGTH: usize = 255;
        if name.is_empty() || name.len() > MAX_NAME_LENGTH || name.contains(&0) {
            return Err(Problem::Pax);
        }
        self.xattrs.retain(|xattr| xattr.name != name);
        self.xattrs.push(Xattr { name, value });
        Ok(())
    }
}

/// Key, value and what follows the first record.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let record = records.get(..length)?;
    let (&newline, record) = record.split_last()?;
    let record = record.get(space + 1..)?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (newline == b'\n' && !key.is_empty() && !key.contains(&0)).then_some((key, value, &records[length..]))
}

/// Digits only; no sign, no space.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn optional_decimal(text: &[u8], field: &'static str) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    // More than 63 bits is nobody's size, and sums of sizes must not overflow.
    decimal(text).filter(|&value| i64::try_from(value).is_ok()).map(Some).ok_or(Problem::Number { field })
}

/// Seconds since the epoch with a fraction: `-1.5` is half a second before `-1`.
fn time(text: &[u8]) -> Option<Time> {
    const NANOSECONDS: u32 = 1_000_000_000;
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(decimal(&text[..dot])?).ok()?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Nine digits count; finer ones are cut off.
    let mut nanoseconds = 0;
    for position in 0..9 {
        nanoseconds = nanoseconds * 10 + u32::from(fraction.get(position).map_or(0, |digit| digit - b'0'));
    }
    Some(match (is_negative, nanoseconds) {
        (false, nanoseconds) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, nanoseconds) => Time { seconds: -seconds - 1, nanoseconds: NANOSECONDS - nanoseconds },
    })
}

fn decode_percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    Some(decoded)
}

/// RFC 4648 base64; libarchive leaves the padding out.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from((bits >> count) & 0xff).expect("eight bits"));
        }
    }
    // A lone character holds no byte.
    (text.len() % 4 != 1).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record with its right length in front.
    fn record(key: &str, value: &str) -> String {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        format!("{length}{rest}")
    }

    #[test]
    fn records_are_read() {
        let text = [
            record("path", "first"),
            record("path", "a/ä\n=b"),
            record("size", "12345678901"),
            record("uid", "4000000000"),
            record("mtime", "-1.25"),
            record("gid", "7"),
            record("gid", ""),
            record("comment", "whatever"),
            record("SCHILY.xattr.user.x=y", "v\0\n"),
            record("LIBARCHIVE.xattr.user.%41", "aGVsbG8"),
        ];
        let pax = Pax::parse(text.concat().as_bytes()).unwrap();
        assert_eq!(pax.path.unwrap(), "a/ä\n=b".as_bytes());
        assert_eq!((pax.size, pax.uid, pax.gid), (Some(12_345_678_901), Some(4_000_000_000), None));
        assert_eq!(pax.mtime, Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        // The first `=` ends the key: nobody can write an attribute's name with one.
        assert_eq!(pax.xattrs[0], Xattr { name: b"user.x".into(), value: b"y=v\0\n".into() });
        assert_eq!(pax.xattrs[1], Xattr { name: b"user.A".into(), value: b"hello".into() });
    }

    #[test]
    fn malformed_records_are_refused() {
        let cases = [
            "x",
            "5 a=b",
            "6 a=b ",
            "7 a=b\n",
            "4 a=b\n",
            "6 a=b\nx",
            "0 a=b\n",
            "-6 a=b\n",
            "+6 a=b\n",
            " 6 a=b\n",
            "5 a1\n",
            "5 =b\n",
            "99999999999999999999 a=b\n",
            "6  a=\n\n",
        ];
        for text in cases {
            assert!(Pax::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "0x1"),
            ("size", "18446744073709551616"),
            ("size", "9223372036854775808"),
            ("uid", "nan"),
            ("mtime", "NaN"),
            ("mtime", "1.x"),
            ("mtime", "."),
            ("mtime", "--1"),
            ("mtime", "1e9"),
            ("mtime", "99999999999999999999"),
            ("SCHILY.xattr.", "x"),
            ("LIBARCHIVE.xattr.a", "*"),
            ("LIBARCHIVE.xattr.%zz", "aa"),
            ("SCHILY.realsize", "1"),
            ("GNU.sparse.map", "x"),
        ] {
            assert!(Pax::parse(record(key, value).as_bytes()).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn a_global_header_sets_no_names_and_no_sizes() {
        for key in ["path", "linkpath", "size", "GNU.sparse.size", "SCHILY.xattr.user.a"] {
            let pax = Pax::parse(record(key, "1").as_bytes()).unwrap();
            assert!(Pax::default().merge_global(pax).is_err(), "{key}");
        }
        let mut global = Pax::default();
        global.merge_global(Pax::parse(record("mtime", "5").as_bytes()).unwrap()).unwrap();
        global.merge_global(Pax::parse(record("comment", "x").as_bytes()).unwrap()).unwrap();
        assert_eq!(global.mtime, Some(Time { seconds: 5, nanoseconds: 0 }));
    }
}
