//! The keys that detach a client from a terminal, recognised in what it types.
//!
//! A prefix of the sequence that turns out to be something else is passed on late, but whole.

use crate::answer::Failure;

/// Ctrl-P Ctrl-Q
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Looks for the sequence in a stream of keys.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

/// What to do with a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Pass these on.
    Keys(Vec<u8>),
    /// Pass these on, then detach.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// Parses `ctrl-p,ctrl-q` or `a,b`; empty: the default.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, Failure> {
        if text.is_empty() {
            return Ok(DetachKeys { sequence: DEFAULT.to_vec(), matched: 0 });
        }
        let sequence: Option<Vec<u8>> = text.split(',').map(key).collect();
        let sequence =
            sequence.ok_or_else(|| Failure::bad(format!("Invalid detach keys ({text}) provided")))?;
        Ok(DetachKeys { sequence, matched: 0 })
    }

    /// Looks at the next piece.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Typed {
        let mut keys = Vec::with_capacity(bytes.len());
        for byte in bytes {
            while *byte != self.sequence[self.matched] && self.matched > 0 {
                // The longest end of what was held that still begins the sequence stays held.
                let held = &self.sequence[..self.matched];
                let kept = (1..self.matched).rev().find(|&length| held.ends_with(&self.sequence[..length]));
                let kept = kept.unwrap_or(0);
                keys.extend_from_slice(&held[..self.matched - kept]);
                self.matched = kept;
            }
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    self.matched = 0;
                    return Typed::Detach(keys);
                }
            } else {
                keys.push(*byte);
            }
        }
        Typed::Keys(keys)
    }
}

fn key(text: &str) -> Option<u8> {
    if let [byte] = text.as_bytes() {
        return Some(*byte);
    }
    match text.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        b"@" => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut detach = DetachKeys::parse(keys).unwrap();
        let mut all = Vec::new();
        for piece in pieces {
            match detach.look(piece) {
                Typed::Keys(keys) => all.extend(keys),
                Typed::Detach(keys) => {
                    all.extend(keys);
                    return (all, true);
                }
            }
        }
        (all, false)
    }

    #[test]
    fn the_sequence_is_found_however_it_is_cut() {
        assert_eq!(typed("", &[b"ab\x10\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(typed("", &[b"\x10", b"\x11"]), (b"".to_vec(), true));
        assert_eq!(typed("", &[b"\x10", b"x", b"\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(typed("", &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(typed("a,a,b", &[b"a", b"a", b"a", b"b"]), (b"a".to_vec(), true));
        assert_eq!(typed("ctrl-a,x", &[b"\x01y\x01x"]), (b"\x01y".to_vec(), true));
    }

    #[test]
    fn wrong_keys_are_refused() {
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,", ",", "ctrl-a,ctrl"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
