//! The image configuration: what to run by default, which layers make the root, how they came to be.
//!
//! OCI's document (`config.md` of the image specification) and Docker's are the same with more or fewer fields.
//! Reading is tolerant of values that do not matter here (numbers out of range, `null`, unknown fields), because
//! an image whose health check has a silly interval must still run; it is strict about the layers.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::manifest::{MAX_DOCUMENT_SIZE, MAX_ENTRIES, null_as_default};
use crate::platform::Platform;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// RFC 3339, verbatim; may be missing or nonsense.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(flatten)]
    pub platform: Platform,
    #[serde(deserialize_with = "null_as_default")]
    pub config: RuntimeConfig,
    #[serde(deserialize_with = "null_as_default")]
    pub rootfs: RootFs,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Docker's comment of `commit` and `import`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// What a container of this image does unless told otherwise. The names are Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RuntimeConfig {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// Labels by which containerd's clients, Kubernetes among them, keep what they know of a container and what is to be done with it.
const RESERVED_LABELS: [&str; 5] =
    ["containerd.io/", "io.containerd.", "io.cri-containerd", "io.kubernetes.", "nerdctl/"];

/// Whether a label is an order when a container has it (`containerd.io/restart.loguri` names a program to start). An image's
/// does not become its containers'.
pub fn is_reserved_label(key: &str) -> bool {
    RESERVED_LABELS.iter().any(|prefix| key.starts_with(prefix))
}

/// How to find out whether a container is well. Durations are nanoseconds; out of range means absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
}

/// The layers, lowest first, by the digests of their uncompressed archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// One step of how the image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Why a document is not an image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    #[error("the image configuration is not valid JSON of its type")]
    Json(#[source] serde_json::Error),
    #[error("the image configuration has {0} bytes, more than {MAX_DOCUMENT_SIZE}")]
    TooLarge(usize),
    #[error("the image configuration lists {0} layers, more than {MAX_ENTRIES}")]
    TooManyLayers(usize),
    #[error("the image configuration has a root file system of type `{0}`; only `layers` is known")]
    RootFsType(String),
}

impl ImageConfig {
    /// Parses a document.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, ImageConfigError> {
        if bytes.len() > MAX_DOCUMENT_SIZE {
            return Err(ImageConfigError::TooLarge(bytes.len()));
        }
        let config: ImageConfig = serde_json::from_slice(bytes).map_err(ImageConfigError::Json)?;
        if config.rootfs.kind != "layers" {
            return Err(ImageConfigError::RootFsType(config.rootfs.kind));
        }
        match config.rootfs.diff_ids.len() {
            count if count > MAX_ENTRIES => Err(ImageConfigError::TooManyLayers(count)),
            _ => Ok(config),
        }
    }

    /// The document's bytes; the same configuration always gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration has only text keys")
    }
}

/// A value, or nothing when it is not of its type.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// A list of words; old images have a single text instead.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(Option::<Words>::deserialize(deserializer)?.map(|words| match words {
        Words::Many(words) => words,
        Words::One(word) => vec![word],
    }))
}

/// A set that is written as a map of empty objects.
mod set {
    use super::*;

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Empty {}
        serializer.collect_map(set.iter().map(|key| (key, Empty {})))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::ImageConfig;
    use proptest::prelude::*;

    #[test]
    fn dockers_document_is_read() {
        let json = br#"{"architecture":"amd64","os":"linux","os.version":"","created":"2020-01-02T03:04:05.6Z",
            "config":{"Hostname":"","User":"redis","ExposedPorts":{"6379/tcp":{}},"Env":["PATH=/bin","A="],
            "Entrypoint":["/e"],"Cmd":null,"Volumes":{"/data":{}},"WorkingDir":"/data","Labels":null,
            "StopSignal":"SIGINT","ArgsEscaped":true,"Healthcheck":{"Test":["CMD","x"],"Interval":1e30,"Retries":3}},
            "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history":[{"created":"x","created_by":"sh","empty_layer":true}],"docker_version":"20","unknown":[1]}"#;
        let config = ImageConfig::parse(json).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64");
        assert_eq!(config.config.user, "redis");
        assert_eq!(config.config.entrypoint.as_deref(), Some(&["/e".to_owned()][..]));
        assert_eq!(config.config.cmd, None);
        assert!(config.config.volumes.contains("/data") && config.config.exposed_ports.contains("6379/tcp"));
        let health = config.config.healthcheck.clone().unwrap();
        assert_eq!((health.interval, health.retries), (None, Some(3)));
        assert!(config.history[0].empty_layer);
        assert_eq!(ImageConfig::parse(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn values_that_do_not_matter_are_tolerated() {
        for json in [
            r#"{"config":null,"rootfs":null,"history":null,"os":null,"os.features":null,"variant":null}"#,
            r#"{"created":5,"config":{"StopTimeout":99999999999999999999,"Healthcheck":"none"}}"#,
            r#"{"config":{"Entrypoint":"/bin/sh","ExposedPorts":null,"Volumes":{"/a":null}}}"#,
        ] {
            ImageConfig::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error:?}"));
        }
    }

    #[test]
    fn layers_are_not_guessed() {
        for json in [
            r#"{"rootfs":{"type":"tarball","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:0"]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":[null]}}"#,
            r#"{"rootfs":[]"#,
            "",
        ] {
            assert!(ImageConfig::parse(json.as_bytes()).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
            let _ = ImageConfig::parse(&bytes);
        }
    }
}
