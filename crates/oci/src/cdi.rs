//! The Container Device Interface: what a vendor's file says about its devices
//! (<https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>, versions 0.3.0 to 1.0.0). Pure.

use std::fmt;

use serde::Deserialize;

/// Versions that are understood; each has what those before it have.
const VERSIONS: [&str; 7] = ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0"];

/// What is wrong with a file or a name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is no JSON of a CDI specification")]
    Json(#[from] serde_json::Error),
    #[error("it is no YAML of a CDI specification: {0}")]
    Yaml(String),
    #[error("CDI version {0:?} is not known")]
    Version(String),
    #[error("{0:?} is no kind of CDI devices: `vendor/class`")]
    Kind(String),
    #[error("{0:?} is no name of a CDI device")]
    Name(String),
    #[error("the device {0:?} is there twice")]
    Twice(String),
    #[error("it has no devices")]
    Empty,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Specification {
    cdi_version: String,
    /// `vendor/class`.
    pub kind: String,
    #[serde(default)]
    annotations: serde_json::Map<String, serde_json::Value>,
    pub devices: Vec<Device>,
    /// For every container that has one of the devices.
    #[serde(default)]
    pub container_edits: Edits,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    pub name: String,
    #[serde(default)]
    annotations: serde_json::Map<String, serde_json::Value>,
    pub container_edits: Edits,
}

/// What changes in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub hooks: Vec<Hook>,
    pub mounts: Vec<Mount>,
    pub intel_rdt: Option<serde_json::Value>,
    pub additional_gids: Vec<u32>,
}

/// A device node. What is not said is the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeviceNode {
    pub path: String,
    /// Empty: `path`.
    pub host_path: String,
    /// `b`, `c`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    /// Empty: `rwm`.
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A program that a runtime calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub timeout: Option<i64>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub options: Vec<String>,
}

impl Specification {
    /// Reads a file and checks its names.
    pub fn parse(text: &str, format: Format) -> Result<Specification, Error> {
        let specification: Specification = match format {
            Format::Json => serde_json::from_str(text)?,
            Format::Yaml => serde_saphyr::from_str(text).map_err(|error| Error::Yaml(error.to_string()))?,
        };
        if !VERSIONS.contains(&&*specification.cdi_version) {
            return Err(Error::Version(specification.cdi_version));
        }
        let is_kind = specification
            .kind
            .split_once('/')
            .is_some_and(|(vendor, class)| is_word(vendor, "_-.") && is_word(class, "_-."));
        if !is_kind {
            return Err(Error::Kind(specification.kind));
        }
        if specification.devices.is_empty() {
            return Err(Error::Empty);
        }
        for (number, device) in specification.devices.iter().enumerate() {
            if !is_device_name(&device.name) {
                return Err(Error::Name(device.name.clone()));
            }
            if specification.devices[..number].iter().any(|other| other.name == device.name) {
                return Err(Error::Twice(device.name.clone()));
            }
        }
        Ok(specification)
    }
}

/// `vendor/class=name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualifiedName {
    /// `vendor/class`.
    pub kind: String,
    pub device: String,
}

impl QualifiedName {
    /// None: it is no such name.
    pub fn parse(text: &str) -> Option<QualifiedName> {
        let (kind, device) = text.split_once('=')?;
        let (vendor, class) = kind.split_once('/')?;
        let is_name = is_word(vendor, "_-.") && is_word(class, "_-.") && is_device_name(device);
        is_name.then(|| QualifiedName { kind: kind.to_owned(), device: device.to_owned() })
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

/// A letter first, a letter or digit last.
fn is_word(text: &str, between: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && is_joined(text, between)
}

fn is_device_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && is_joined(text, "_-.:")
}

fn is_joined(text: &str, between: &str) -> bool {
    text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || between.contains(letter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net", "annotations": {"a": "b"},
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [{"name": "one", "containerEdits": {"env": ["A=1"], "additionalGids": [7],
            "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "permissions": "r", "fileMode": 384}],
            "mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro"]}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/x", "args": ["x"]}]}}]}"#;

    const YAML: &str = "
cdiVersion: 0.6.0
kind: vendor.com/net
annotations:
  a: b
containerEdits:
  env:
  - ALL=1
devices:
- name: one
  containerEdits:
    env: [A=1]
    additionalGids: [7]
    deviceNodes:
    - path: /dev/x
      hostPath: /dev/null
      permissions: r
      fileMode: 384
    mounts:
    - hostPath: /a
      containerPath: /b
      options: [ro]
    hooks:
    - hookName: createContainer
      path: /bin/x
      args: [x]
";

    #[test]
    fn json_and_yaml_say_the_same() {
        let json = Specification::parse(JSON, Format::Json).unwrap();
        assert_eq!(json, Specification::parse(YAML, Format::Yaml).unwrap());
        let edits = &json.devices[0].container_edits;
        assert_eq!(
            (edits.env.as_slice(), edits.additional_gids.as_slice()),
            (&["A=1".to_owned()][..], &[7][..])
        );
        assert_eq!(edits.device_nodes[0].file_mode, Some(0o600));
        assert_eq!(json.container_edits.env, ["ALL=1"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |from: &str, to: &str| {
            Specification::parse(&JSON.replace(from, to), Format::Json).unwrap_err().to_string()
        };
        for (from, to, want) in [
            ("0.6.0", "2.0.0", "2.0.0"),
            ("vendor.com/net", "vendor.com", "vendor.com"),
            ("\"one\"", "\"-\"", "\"-\""),
            ("\"hostPath\": \"/dev/null\"", "\"hostPaths\": \"/dev/null\"", "no JSON"),
        ] {
            assert!(with(from, to).contains(want), "{to}: {}", with(from, to));
        }
    }

    #[test]
    fn names_are_told_from_paths() {
        for text in ["vendor.com/class=name", "nvidia.com/gpu=0", "nvidia.com/gpu=all", "a/b=GPU-1:2.3"] {
            assert_eq!(QualifiedName::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["/dev/null", "vendor.com/class", "vendor.com/class=", "=a", "a/b=-", "1a/b=c", "a/b/c=d", "/a=b"]
        {
            assert_eq!(QualifiedName::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Specification::parse(&text, Format::Json);
            let _ = Specification::parse(&text, Format::Yaml);
            let _ = QualifiedName::parse(&text);
        }
    }
}
