//! Identifiers of namespaces, containers, sandboxes and processes, as containerd has them; digests in its words.

use oci::digest::{Digest, DigestError};

use crate::error::{Error, Result};

/// The longest identifier.
pub const MAX_BYTES: usize = 76;
pub(crate) const KEY_MAX_BYTES: usize = 32_768;

/// What an identifier is, as messages tell it.
const PATTERN: &str = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$";

/// Words of letters and digits, joined by single `.`, `_` or `-`.
///
/// # Errors
/// [`Error::Invalid`], in containerd's words.
pub fn check(text: &str) -> Result<()> {
    let wrong = |why: String| Err(Error::Invalid { why });
    if text.is_empty() {
        return wrong("identifier must not be empty".into());
    }
    if text.len() > MAX_BYTES {
        return wrong(format!("identifier {text:?} greater than maximum length ({MAX_BYTES} characters)"));
    }
    match are_words(text) {
        true => Ok(()),
        false => wrong(format!("identifier {text:?} must match {PATTERN}")),
    }
}

/// Whether it is words of letters and digits, joined by single `.`, `_` or `-`; however long.
pub fn are_words(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.split(['.', '_', '-']).all(is_word)
}

/// Any text as a name, as long as a key of containerd's database may be.
///
/// # Errors
/// [`Error::Invalid`] says of `what` that it is longer.
pub(crate) fn check_key(what: &str, text: &str) -> Result<()> {
    match text.len() <= KEY_MAX_BYTES {
        true => Ok(()),
        false => Err(Error::Invalid { why: format!("{what} has more than {KEY_MAX_BYTES} bytes") }),
    }
}

/// A digest; why it is none is said as Go's library says it.
pub fn digest(text: &str) -> std::result::Result<Digest, &'static str> {
    Digest::parse(text).map_err(|error| match error {
        DigestError::UnknownAlgorithm(_) => "unsupported digest algorithm",
        DigestError::NotHexadecimal(_, digits)
            if text.split_once(':').is_some_and(|(_, hex)| !hex.is_empty() && hex.len() != digits) =>
        {
            "invalid checksum digest length"
        }
        DigestError::NoAlgorithm(_) | DigestError::NotHexadecimal(..) => "invalid checksum digest format",
    })
}

#[cfg(test)]
mod tests {
    use super::{check, digest};

    #[test]
    fn identifiers_are_words_joined_by_single_marks() {
        for text in ["default", "k8s.io", "a-b_c.d", "1", &"x".repeat(76)] {
            check(text).unwrap();
        }
        for text in ["", ".", "a..b", "-a", "a-", "a/b", "a b", "ä", "a\n", &"x".repeat(77)] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_digest_is_told_as_by_go() {
        let (hex, why) = ("a".repeat(64), |text: &str| digest(text).unwrap_err());
        digest(&format!("sha256:{hex}")).unwrap();
        assert_eq!(why(&format!("md5:{hex}")), "unsupported digest algorithm");
        assert_eq!(why("sha256:abc"), "invalid checksum digest length");
        for text in ["", "abc", "sha256:", &format!("sha256:{}", "g".repeat(64))] {
            assert_eq!(why(text), "invalid checksum digest format", "{text}");
        }
    }
}
