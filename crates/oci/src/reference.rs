//! Image names: `[domain/]path[:tag][@digest]`, by the grammar of the distribution project.
//!
//! ```text
//! domain         := host [":" digits]           host := component ("." component)* | "[" IPv6 "]"
//! component      := alphanumeric, inner "-"     path := path-component ("/" path-component)*
//! path-component := [a-z0-9]+ (("." | "_" | "__" | "-"+) [a-z0-9]+)*
//! tag            := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! ```
//!
//! People write names the short way, which is normalised: no domain means `docker.io`, no namespace there means
//! `library`, neither tag nor digest means `latest`. The familiar form undoes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest path, by the distribution project.
const MAX_PATH_LENGTH: usize = 255;
/// Longest tag, by the distribution project.
const MAX_TAG_LENGTH: usize = 128;
/// Longest whole reference that is looked at: path, tag and sha512 digest with room for a domain name.
const MAX_LENGTH: usize = 1024;

/// A normalised image name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format: the name is empty")]
    Empty,
    #[error("invalid reference format: the digest is wrong")]
    Digest(#[source] DigestError),
    #[error("invalid reference format: `{0}` is not a registry's name")]
    Domain(String),
    #[error("invalid repository name `{0}`: 64 hexadecimal digits would be taken for an image id")]
    LooksLikeId(String),
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    NotLowercase(String),
    #[error("invalid reference format: `{0}` is not a repository name")]
    Path(String),
    #[error("invalid reference format: `{0}` is not a tag")]
    Tag(String),
    #[error("invalid reference format: the name has {0} bytes, too many")]
    TooLong(usize),
}

impl Reference {
    /// Parses what people write and completes it: `busybox` becomes `docker.io/library/busybox:latest`.
    pub fn parse_normalized(text: &str) -> Result<Reference, ReferenceError> {
        let mut reference = Reference::parse_named(text)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = Some(DEFAULT_TAG.into());
        }
        Ok(reference)
    }

    /// As [`Reference::parse_normalized`], but a name without tag and digest stays without.
    pub fn parse_named(text: &str) -> Result<Reference, ReferenceError> {
        match text.len() {
            0 => return Err(ReferenceError::Empty),
            1..=MAX_LENGTH => {}
            length => return Err(ReferenceError::TooLong(length)),
        }
        let (text, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest).map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(text);
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag(tag.into()));
        }
        if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId(name.into()));
        }
        let (domain, path) = split_domain(name);
        check_name(&domain, &path)?;
        Ok(Reference { domain, path, tag: tag.map(str::to_owned), digest })
    }

    /// The registry, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within its registry, `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, when there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people write it: `busybox`, `user/app`, `registry.example/app`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        let short = self.path.strip_prefix(OFFICIAL_NAMESPACE).filter(|rest| !rest.contains('/'));
        let short = short.unwrap_or(&self.path);
        // A first component that reads as a registry must keep the real one in front of it.
        match split_domain(short) {
            (domain, path) if domain == self.domain && path == self.path => short.to_owned(),
            _ => self.repository(),
        }
    }

    /// The whole name as people write it, `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

/// The part after the last `:`, unless that colon belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain_like(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.into(), format!("{OFFICIAL_NAMESPACE}{path}"));
    }
    (domain.into(), path.into())
}

/// Docker's rule for what makes a first component a registry.
fn is_domain_like(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_name(domain: &str, path: &str) -> Result<(), ReferenceError> {
    if path.len() > MAX_PATH_LENGTH {
        return Err(ReferenceError::TooLong(path.len()));
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::NotLowercase(path.into()));
    }
    if !is_domain(domain) {
        return Err(ReferenceError::Domain(domain.into()));
    }
    if !path.split('/').all(is_path_component) {
        return Err(ReferenceError::Path(path.strip_prefix(OFFICIAL_NAMESPACE).unwrap_or(path).into()));
    }
    Ok(())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|component| {
        !component.is_empty()
            && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !component.starts_with('-')
            && !component.ends_with('-')
    })
}

fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_alphanumeric(*first) || !is_alphanumeric(*last) {
        return false;
    }
    bytes.split(|byte| is_alphanumeric(*byte)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG_LENGTH
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        Reference::parse_named(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn short_names_are_completed_and_shortened_again() {
        let cases = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
            ("registry.example:5000/a/b:v1", "registry.example:5000/a/b:v1", "registry.example:5000/a/b:v1"),
            ("[2001:db8::1]:5000/app:x", "[2001:db8::1]:5000/app:x", "[2001:db8::1]:5000/app:x"),
            ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
            ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f:latest"),
        ];
        for (text, canonical, familiar) in cases {
            let reference = Reference::parse_normalized(text).unwrap();
            assert_eq!(reference.to_string(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
        let pinned = Reference::parse_normalized(&format!("busybox:1@sha256:{HEX}")).unwrap();
        assert_eq!(pinned.to_string(), format!("docker.io/library/busybox:1@sha256:{HEX}"));
        let untagged = Reference::parse_normalized(&format!("busybox@sha256:{HEX}")).unwrap();
        assert_eq!(untagged.tag(), None);
    }

    #[test]
    fn wrong_names_are_refused() {
        let long = "a".repeat(256);
        let cases = [
            "",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "a//b",
            "Busybox",
            "user/App",
            "a:b:c",
            "a:",
            ":tag",
            "a:-x",
            "a:é",
            "a b",
            "a\n",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a/../b",
            "..",
            ".",
            "http://a/b",
            "a@sha256:00",
            "a@",
            "host:port/a",
            "host:/a",
            "-h.x/a",
            "h-.x/a",
            "[::1/a",
            "[x]/a",
            "a@b@c",
            HEX,
            &long,
        ];
        for text in cases {
            assert!(Reference::parse_normalized(text).is_err(), "{text:?}");
        }
        assert!(Reference::parse_normalized(&format!("a:{}", "t".repeat(128))).is_ok());
        assert!(Reference::parse_normalized(&format!("a:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn canonical_and_familiar_forms_mean_the_same(text in r"([a-zA-Z0-9.:\[\]-]{0,8}/)?[a-z0-9._-]{1,8}(/[a-z0-9._-]{1,4})?(:[a-zA-Z0-9._-]{0,6})?") {
            if let Ok(reference) = Reference::parse_normalized(&text) {
                prop_assert_eq!(&Reference::parse_normalized(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse_normalized(&reference.familiar()).unwrap(), &reference);
            }
        }

        #[test]
        fn parsing_arbitrary_text_never_panics(text: String) {
            let _ = Reference::parse_normalized(&text);
        }
    }
}
