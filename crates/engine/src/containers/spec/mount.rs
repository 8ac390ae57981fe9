//! What is mounted into a container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something mounted into the container at the absolute path `target`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum MountSpec {
    Bind(BindMount),
    Volume(VolumeMount),
    Tmpfs(TmpfsMount),
    Image(ImageMount),
}

impl MountSpec {
    /// Where it is mounted.
    pub fn target(&self) -> &str {
        match self {
            MountSpec::Bind(mount) => &mount.target,
            MountSpec::Volume(mount) => &mount.target,
            MountSpec::Tmpfs(mount) => &mount.target,
            MountSpec::Image(mount) => &mount.target,
        }
    }
}

/// The words that asked for a mount: inspect answers in the same ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `--mount`, field by field.
    #[default]
    Long,
    /// `-v SOURCE:TARGET:MODE`, `--tmpfs TARGET:MODE`, or what an image declares; the mode as it was given.
    Short(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindMount {
    /// Absolute path of the host.
    pub source: String,
    pub target: String,
    pub readonly: bool,
    pub below: BelowReadOnly,
    /// `-v` makes a missing source a directory; `--mount` refuses it.
    pub create_source: bool,
    /// None: not said, which is [`Propagation::Rprivate`].
    pub propagation: Option<Propagation>,
    /// Whether mounts below the source stay behind.
    pub non_recursive: bool,
    pub form: Form,
}

/// What is mounted below the source of a read-only bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BelowReadOnly {
    /// Read-only, too.
    #[default]
    Follows,
    /// Read-only, and whoever asked wanted an error otherwise. Every kernel that Corten runs on can do it.
    MustFollow,
    /// As it is.
    StaysWritable,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    #[default]
    Rprivate,
    Private,
    Rshared,
    Shared,
    Rslave,
    Slave,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Empty: an anonymous volume, which gets its name at creation.
    pub name: String,
    pub target: String,
    pub readonly: bool,
    /// Do not fill an empty volume with what the image has at the target.
    pub no_copy: bool,
    /// Path below the volume's root; empty: all of it. It has to be there when the container starts.
    pub subpath: String,
    /// Set by the engine: the volume was anonymous and goes when the container goes with its volumes.
    pub anonymous: bool,
    /// Labels for a volume that is made for this mount.
    pub labels: BTreeMap<String, String>,
    /// Options of its driver, for a volume that is made for this mount.
    pub options: BTreeMap<String, String>,
    pub form: Form,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsMount {
    pub target: String,
    /// `mount(8)` options (`size=64m`, `mode=1770`, `exec`), after Docker's defaults `noexec,nosuid,nodev`.
    pub options: Vec<String>,
    pub form: Form,
}

/// The files of an image, read-only. They are kept as long as the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageMount {
    /// As the client named it.
    pub image: String,
    /// Set by the engine at creation: the digest of the image's configuration.
    pub image_id: String,
    pub target: String,
    /// Path below the image's root; empty: all of it.
    pub subpath: String,
}
