//! What an image runs on: operating system, processor, variant of the processor.
//!
//! Names are Go's (`linux`, `amd64`), as the image specification demands. Comparison goes through a normal form,
//! because the same processor has several spellings (`x86_64`, `aarch64`, `arm64` without its `v8`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::null_as_default;

/// A platform as a descriptor or an image configuration states it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    #[serde(deserialize_with = "null_as_default")]
    pub architecture: String,
    #[serde(deserialize_with = "null_as_default")]
    pub os: String,
    #[serde(
        rename = "os.version",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    #[serde(
        rename = "os.features",
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The platform that this executable was built for.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
            ..Platform::default()
        }
    }

    /// Parses `os[/architecture[/variant]]` as `--platform` takes it; a lone processor name means Linux.
    pub fn parse(text: &str) -> Result<Platform, PlatformError> {
        let refused = || PlatformError(text.chars().take(100).collect());
        let parts: Vec<&str> = text.split('/').collect();
        let is_plain = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if !parts.iter().all(is_plain) {
            return Err(refused());
        }
        let host = Platform::host();
        let (os, architecture, variant) = match parts[..] {
            [os @ ("linux" | "windows" | "freebsd" | "darwin")] => (os, host.architecture.as_str(), ""),
            [architecture] if is_known(architecture) => ("linux", architecture, ""),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err(refused()),
        };
        Ok(Platform {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_ascii_lowercase(),
            variant: variant.to_ascii_lowercase(),
            ..Platform::default()
        }
        .normalized())
    }

    /// Whether a machine of this platform can run what `image` says it is built for.
    pub fn matches(&self, image: &Platform) -> bool {
        let (machine, image) = (self.normalized(), image.normalized());
        if machine.os != image.os || machine.architecture != image.architecture {
            return false;
        }
        // A newer 32-bit ARM runs what was built for an older one.
        match (machine.architecture.as_str(), arm_version(&machine.variant), arm_version(&image.variant)) {
            ("arm", Some(machine), Some(image)) => image <= machine,
            _ => machine.variant == image.variant,
        }
    }

    /// The same platform in the spelling of the image specification.
    fn normalized(&self) -> Platform {
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf" | "arm", "" | "7") => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("i386" | "i686", variant) => ("386", variant),
            (architecture, variant) => (architecture, variant),
        };
        Platform {
            os: self.os.to_ascii_lowercase(),
            architecture: architecture.into(),
            variant: variant.into(),
            ..self.clone()
        }
    }
}

/// Processors that go without an operating system's name, which anything else would be taken for; with the names that they have
/// elsewhere.
fn is_known(architecture: &str) -> bool {
    const KNOWN: [&str; 20] = [
        "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "i686", "loong64", "mips",
        "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "x86-64", "x86_64",
    ];
    KNOWN.contains(&architecture.to_ascii_lowercase().as_str())
}

fn arm_version(variant: &str) -> Option<u8> {
    variant.strip_prefix('v')?.parse().ok()
}

/// A text that is not `os/architecture/variant`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: unknown operating system or architecture: invalid argument")]
pub struct PlatformError(String);

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn spellings_of_one_processor_match() {
        let cases = [
            ("linux/amd64", "linux/x86_64", true),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/arm64", "linux/aarch64/v8", true),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "linux/arm64", false),
        ];
        for (machine, image, expected) in cases {
            let (machine, image) = (Platform::parse(machine).unwrap(), Platform::parse(image).unwrap());
            assert_eq!(machine.matches(&image), expected, "{machine} runs {image}");
        }
        assert!(Platform::host().matches(&Platform::host()));
        assert!(!Platform::host().matches(&Platform::default()));
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in ["", "/", "linux/", "linux//v7", "a/b/c/d", "linux/amd64\n", "linux/é", "nonsense"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Platform::parse("arm64").unwrap().to_string(), "linux/arm64");
    }
}
