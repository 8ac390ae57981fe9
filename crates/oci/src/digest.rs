//! A content digest: `sha256:<64 hex>`, `sha384:<96 hex>` or `sha512:<128 hex>`, lower case only.
//!
//! The image specification's grammar allows any algorithm name; only those are accepted that it registers and that containerd
//! and Docker know, because a digest becomes a file name and must be checkable. New digests are sha256 unless somebody
//! expects another one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// How a digest is made of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

/// A checked digest, kept in its textual form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("digest `{0}` has no algorithm")]
    NoAlgorithm(String),
    #[error("digest `{0}` uses an unknown algorithm (known are sha256, sha384 and sha512)")]
    UnknownAlgorithm(String),
    #[error("digest `{0}` is not {1} lower-case hexadecimal digits after its algorithm")]
    NotHexadecimal(String, usize),
}

/// Longest part of a wrong digest that an error repeats.
const QUOTED_LENGTH: usize = 100;

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// Its name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }

    fn of(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl Digest {
    /// Parses `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Digest, DigestError> {
        let quoted = || text.chars().take(QUOTED_LENGTH).collect::<String>();
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(quoted()))?;
        let algorithm = Algorithm::of(algorithm).ok_or_else(|| DigestError::UnknownAlgorithm(quoted()))?;
        let length = algorithm.digits();
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
        Digest::from_hash(Algorithm::Sha256, &hash)
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Digest {
        use std::fmt::Write as _;
        let mut text = format!("{}:", algorithm.name());
        for byte in hash {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Digest(text)
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How it was made.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::of(self.parts().0).expect("a digest has a known algorithm, or it would not exist")
    }

    /// The digits after the algorithm.
    pub fn hex(&self) -> &str {
        self.parts().1
    }

    /// Where an image layout has the blob (OCI image specification, `image-layout.md`).
    pub fn blob_path(&self) -> String {
        format!("blobs/{}/{}", self.algorithm().name(), self.hex())
    }

    /// The first twelve digits, as people write them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').expect("a digest has an algorithm, or it would not exist")
    }
}

/// A digest that is fed piece by piece; a sha256 by default.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// One that has taken in nothing.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// How it hashes.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha384(_) => Algorithm::Sha384,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha384(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of everything that was taken in.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        match self.0 {
            State::Sha256(hash) => Digest::from_hash(algorithm, &hash.finalize()),
            State::Sha384(hash) => Digest::from_hash(algorithm, &hash.finalize()),
            State::Sha512(hash) => Digest::from_hash(algorithm, &hash.finalize()),
        }
    }
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher::new(Algorithm::Sha256)
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
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
    use super::{Algorithm, Digest, DigestError, Hasher};
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        assert_eq!(Hasher::default().finish().as_str(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn every_algorithm_hashes_and_is_read_back() {
        // Of nothing, as `sha384sum` and `sha512sum` print them, shortened.
        let begins = [
            (Algorithm::Sha256, "sha256:e3b0c4"),
            (Algorithm::Sha384, "sha384:38b060"),
            (Algorithm::Sha512, "sha512:cf83e1"),
        ];
        for (algorithm, begin) in begins {
            let digest = Hasher::new(algorithm).finish();
            assert!(digest.as_str().starts_with(begin), "{digest}");
            assert_eq!(Digest::parse(digest.as_str()).unwrap().algorithm(), algorithm);
        }
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
        fn parsing_is_total_and_keeps_the_text(text in "(sha256|sha384|sha512|x)?:?[0-9a-fA-F/.]{0,130}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.as_str(), text.as_str());
                prop_assert_eq!(format!("{}:{}", digest.algorithm().name(), digest.hex()), text);
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
