//! The keys that leave a terminal: Docker's daemon, not its client, looks for them in what is typed. Pure.
//!
//! ```text
//!  typed ──▶ held: a beginning of the keys ──▶ whole: detached
//!                     │ the next byte does not fit
//!                     ▼
//!                  passed on, but for the longest end that is a beginning again
//! ```

use crate::error::{Error, Result};

/// Ctrl-P Ctrl-Q.
const DEFAULT_KEYS: [u8; 2] = [0x10, 0x11];
/// Nobody types more to leave.
const MAX_KEYS: usize = 32;

/// Looks for the keys in a stream of bytes.
#[derive(Debug)]
pub(crate) struct DetachFilter {
    keys: Vec<u8>,
    held: usize,
}

/// What became of a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    On,
    Detached,
}

impl DetachFilter {
    /// Keys as `--detach-keys` has them (`ctrl-a,x`); nothing: the default.
    pub(crate) fn new(keys: Option<&str>) -> Result<DetachFilter> {
        let keys = match keys {
            Some(text) => parse_keys(text)?,
            None => DEFAULT_KEYS.to_vec(),
        };
        Ok(DetachFilter { keys, held: 0 })
    }

    /// Appends to `output` what is not (perhaps) a part of the keys. After the keys nothing is passed on.
    pub(crate) fn feed(&mut self, input: &[u8], output: &mut Vec<u8>) -> Passed {
        for &byte in input {
            while self.held > 0 && byte != self.keys[self.held] {
                let shorter = self.shorter();
                output.extend_from_slice(&self.keys[..self.held - shorter]);
                self.held = shorter;
            }
            if byte != self.keys[self.held] {
                output.push(byte);
            } else if self.held + 1 == self.keys.len() {
                return Passed::Detached;
            } else {
                self.held += 1;
            }
        }
        Passed::On
    }

    /// What was held back when the input ended: it was no end of the session.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.keys[..self.held]
    }

    /// The longest proper end of what is held that is a beginning of the keys.
    fn shorter(&self) -> usize {
        let held = &self.keys[..self.held];
        (0..self.held).rev().find(|&length| held.ends_with(&self.keys[..length])).unwrap_or(0)
    }
}

fn parse_keys(text: &str) -> Result<Vec<u8>> {
    let keys: Option<Vec<u8>> = text.split(',').map(parse_key).collect();
    keys.filter(|keys| keys.len() <= MAX_KEYS)
        .ok_or_else(|| Error::invalid(format!("Invalid escape keys ({text}) provided")))
}

/// One character, `DEL`, or `ctrl-` and one of `a`–`z`, `@`, `[`, `\`, `]`, `^`, `_`.
fn parse_key(key: &str) -> Option<u8> {
    let control =
        key.get(..5).filter(|start| start.eq_ignore_ascii_case("ctrl-")).map(|_| &key.as_bytes()[5..]);
    match (control, key.as_bytes()) {
        (Some([letter]), _) => match letter.to_ascii_lowercase() {
            b'@' => Some(0),
            letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
            letter @ b'['..=b'_' => Some(letter - b'[' + 27),
            _ => None,
        },
        (None, [byte]) => Some(*byte),
        (None, _) if key.eq_ignore_ascii_case("del") => Some(127),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{DetachFilter, Passed, parse_keys};

    /// Feeds the pieces; what came through, and whether it detached.
    fn feed(keys: Option<&str>, pieces: &[&str]) -> (String, bool) {
        let mut filter = DetachFilter::new(keys).unwrap();
        let mut output = Vec::new();
        for piece in pieces {
            if filter.feed(piece.as_bytes(), &mut output) == Passed::Detached {
                return (String::from_utf8(output).unwrap(), true);
            }
        }
        output.extend_from_slice(filter.rest());
        (String::from_utf8(output).unwrap(), false)
    }

    #[test]
    fn the_keys_detach_wherever_they_are_cut() {
        for (keys, pieces, want) in [
            (None, &["ab\x10\x11cd"][..], ("ab", true)),
            (None, &["ab\x10", "\x11"], ("ab", true)),
            (None, &["\x10", "x", "\x11"], ("\x10x\x11", false)),
            (None, &["\x10\x10\x11"], ("\x10", true)),
            (None, &["\x10"], ("\x10", false)),
            (Some("a"), &["xax"], ("x", true)),
            (Some("a,a,b"), &["aaab"], ("a", true)),
            (Some("a,b,a,c"), &["ababac"], ("ab", true)),
            (Some("a,b,a,c"), &["abab"], ("abab", false)),
        ] {
            assert_eq!(feed(keys, pieces), (want.0.to_owned(), want.1), "{keys:?} {pieces:?}");
        }
    }

    #[test]
    fn every_byte_comes_through_when_the_keys_do_not() {
        // All words of two letters up to length 9, in pieces of every size: what comes out went in.
        for word in 0..1u32 << 9 {
            let text: String = (0..9).map(|bit| if word >> bit & 1 == 1 { 'a' } else { 'b' }).collect();
            for size in 1..=3 {
                let pieces: Vec<&str> =
                    (0..9).step_by(size).map(|at| &text[at..(at + size).min(9)]).collect();
                let (output, detached) = feed(Some("a,b,a,a"), &pieces);
                match text.find("abaa") {
                    Some(at) => assert_eq!((output.as_str(), detached), (&text[..at], true), "{text}"),
                    None => assert_eq!((output.as_str(), detached), (text.as_str(), false), "{text}"),
                }
            }
        }
    }

    #[test]
    fn keys_have_dockers_names() {
        for (text, want) in [
            ("ctrl-p,ctrl-q", Some(&[16, 17][..])),
            ("Ctrl-A,x", Some(&[1, b'x'])),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", Some(&[0, 27, 28, 29, 30, 31])),
            ("DEL", Some(&[127])),
            ("-", Some(b"-")),
            ("", None),
            ("a,", None),
            ("ctrl-", None),
            ("ctrl-ab", None),
            ("ctrl-1", None),
            ("ä", None),
            ("ab", None),
        ] {
            assert_eq!(parse_keys(text).ok().as_deref(), want, "{text}");
        }
    }
}
