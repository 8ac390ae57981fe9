//! A content digest: `sha256:<64 hex>` or `sha512:<128 hex>`, lower case only.
//!
//! The image specification's grammar allows any algorithm name; only the two registered ones are accepted,
//! because a digest becomes a file name and must be checkable. New digests are always sha256.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A checked digest, kept in its textual form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("digest `{0}` has no algorithm")]
    NoAlgorithm(String),
    #[error("digest `{0}` uses an unknown algorithm (known are sha256 and sha512)")]
    UnknownAlgorithm(String),
    #[error("digest `{0}` is not {1} lower-case hexadecimal digits after its algorithm")]
    NotHexadecimal(String, usize),
}

/// Longest part of a wrong digest that an error repeats.
const QUOTED_LENGTH: usize = 100;

impl Digest {
    /// Parses `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Digest, DigestError> {
        let quoted = || text.chars().take(QUOTED_LENGTH).collect::<String>();
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(quoted()))?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(DigestError::UnknownAlgorithm(quoted())),
        };
        let is_hexadecimal = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != length || !is_hexadecimal {
            return Err(DigestError::NotHexadecimal(quoted(), length));
        }
        Ok(Digest(text.to_owned()))
    }

    /// The sha256 of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::from_sha256(Sha256::digest(bytes).into())
    }

    /// Wraps a finished sha256.
    pub fn from_sha256(hash: [u8; 32]) -> Digest {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Digest(text)
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.parts().0
    }

    /// The digits after the algorithm.
    pub fn hex(&self) -> &str {
        self.parts().1
    }

    /// The first twelve digits, as people write them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').expect("a digest has an algorithm, or it would not exist")
    }
}

/// A sha256 that is fed piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything that was taken in.
    pub fn finish(self) -> Digest {
        Digest::from_sha256(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Digest, DigestError> {
        Digest::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Digest, DigestError> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, DigestError, Hasher};
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        assert_eq!(Hasher::default().finish().as_str(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn what_could_become_another_file_name_is_refused() {
        let hex = &EMPTY[7..];
        let cases = [
            String::new(),
            hex.to_owned(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha512:{hex}"),
            format!("md5:{}", &hex[..32]),
            format!("sha256:../{}", &hex[3..]),
            format!("sha256:{}/", &hex[1..]),
            format!("../sha256:{hex}"),
            format!("sha256:{}é", &hex[2..]),
            "sha256:".into(),
            ":".into(),
        ];
        for text in cases {
            assert!(Digest::parse(&text).is_err(), "{text:?}");
        }
        assert!(matches!(Digest::parse("md5:00"), Err(DigestError::UnknownAlgorithm(_))));
        assert!(Digest::parse(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_keeps_the_text(text in "(sha256|sha512|x)?:?[0-9a-fA-F/.]{0,130}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.as_str(), text.as_str());
                prop_assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
            }
        }

        #[test]
        fn a_digest_does_not_depend_on_how_the_bytes_were_cut(bytes: Vec<u8>, at: prop::sample::Index) {
            let cut = at.index(bytes.len() + 1);
            let mut hasher = Hasher::default();
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            prop_assert_eq!(hasher.finish(), Digest::of(&bytes));
        }
    }
}
