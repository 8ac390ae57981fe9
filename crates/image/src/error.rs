//! What can go wrong with images, in words for the person who asked.

use std::io;
use std::path::PathBuf;

use api::code::Code;
use oci::digest::Digest;
use oci::docker_archive::DockerArchiveError;
use oci::image_config::ImageConfigError;
use oci::manifest::ManifestError;
use oci::platform::PlatformError;
use oci::reference::ReferenceError;

use crate::image::MAX_LAYERS;
use crate::import::ChangeError;
use crate::worker::WorkerError;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the layer cannot be applied")]
    Apply(#[source] WorkerError),
    #[error("the container's layer cannot be packed")]
    Pack(#[source] WorkerError),
    #[error("image id `{0}` is ambiguous: several images begin with it")]
    AmbiguousId(String),
    #[error("the archive cannot be taken apart")]
    Archive(#[source] WorkerError),
    #[error("invalid change `{change}`")]
    Change { change: String, source: ChangeError },
    /// Docker's words.
    #[error("{0} is not a valid change command")]
    NoChange(String),
    #[error("{member} is not an image configuration")]
    Config { member: String, source: ImageConfigError },
    /// Whoever wanted it went away.
    #[error("it was cancelled")]
    Cancelled,
    #[error(
        "no matching manifest for {wanted} in the manifest list entries: {name} is there for {available}"
    )]
    NoPlatform { name: String, wanted: String, available: String },
    #[error(transparent)]
    Registry(Box<crate::registry::RegistryError>),
    /// Docker's words, which its clients look for.
    #[error("conflict: unable to {0}")]
    Conflict(Conflict),
    #[error("document {expected} is damaged on disk: it is {actual}")]
    DamagedDocument { expected: Digest, actual: Digest },
    #[error("layer {layer} is damaged on disk: its blob is {actual}")]
    DamagedLayer { layer: LayerName, actual: Digest },
    #[error("layer {layer}: its content is {actual}, but the image says {expected}")]
    DiffId { layer: LayerName, expected: Digest, actual: Digest },
    #[error("`{member}` is not a list of saved images")]
    DockerArchive { member: String, source: DockerArchiveError },
    #[error("{member} is not a manifest or an index")]
    Document { member: String, source: ManifestError },
    #[error("member `{member}` has {size} bytes, too many for a document")]
    DocumentTooLarge { member: String, size: u64 },
    #[error("{what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the root file system cannot be imported")]
    Import(#[source] WorkerError),
    #[error("member `{member}` is not valid JSON of its kind")]
    Json { member: String, source: serde_json::Error },
    #[error("layer {layer} cannot be unpacked")]
    Layer { layer: LayerName, source: WorkerError },
    #[error("the image has {layers} layers, but its configuration lists {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("layer {layer} has the media type `{media_type}`, which is not a layer that can be unpacked")]
    LayerType { layer: LayerName, media_type: String },
    #[error("member `{0}` is missing in the archive")]
    MissingMember(String),
    #[error("`{name}` is not an image name")]
    Name { name: String, source: ReferenceError },
    #[error("`{0}` names a digest; an image cannot be given a digest")]
    NamedByDigest(String),
    #[error("indexes are nested too deeply")]
    Nesting,
    #[error("the archive has no images")]
    NoImages,
    #[error("the image has no layers")]
    NoLayers,
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error(
        "the archive is neither an OCI layout nor a docker archive: it has no index.json and no manifest.json"
    )]
    NotAnImageArchive,
    #[error("`{0}` is not an image: its configuration has the type `{1}`")]
    NotAnImage(String, String),
    #[error("the archive was made by docker before 1.10; load it with a newer docker and save it again")]
    OldArchive,
    #[error("the image is for {available}, not for this machine ({host})")]
    Platform { available: String, host: String },
    #[error(transparent)]
    PlatformName(#[from] PlatformError),
    #[error("the store")]
    Store(#[from] store::Error),
    #[error("the image has {0} layers, more than {MAX_LAYERS}")]
    TooManyLayers(usize),
    #[error("member `{member}` has {actual} bytes, but its descriptor says {expected}")]
    WrongSize { member: String, expected: u64, actual: u64 },
    #[error("member `{member}` is not what its name says")]
    WrongContent { member: String, source: store::Error },
}

/// A layer's place in its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    /// From 1, lowest first.
    pub number: usize,
    pub count: usize,
    pub digest: Digest,
}

impl std::fmt::Display for LayerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} ({}…)", self.number, self.count, &self.digest.as_str()[..19])
    }
}

/// Why an image is not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// By its id, while several repositories name it.
    SeveralNames {
        id: String,
    },
    RunningContainer {
        id: String,
        container: String,
    },
    StoppedContainer {
        id: String,
        container: String,
    },
    /// By its only name, while a container uses it.
    UsedName {
        name: String,
        container: String,
        id: String,
    },
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Conflict::SeveralNames { id } => {
                write!(f, "delete {id} (must be forced) - image is referenced in multiple repositories")
            }
            Conflict::RunningContainer { id, container } => write!(
                f,
                "delete {id} (cannot be forced) - image is being used by running container {container}"
            ),
            Conflict::StoppedContainer { id, container } => write!(
                f,
                "delete {id} (must be forced) - image is being used by stopped container {container}"
            ),
            Conflict::UsedName { name, container, id } => write!(
                f,
                "remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {id}"
            ),
        }
    }
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Error::NoSuchImage(_) | Error::NoPlatform { .. } => Code::NotFound,
            Error::Cancelled => Code::Cancelled,
            Error::Registry(error) => error.code(),
            Error::Conflict(_) => Code::FailedPrecondition,
            Error::DamagedDocument { .. } | Error::DamagedLayer { .. } => Code::DataLoss,
            Error::Platform { .. } => Code::FailedPrecondition,
            Error::Apply(source)
            | Error::Pack(source)
            | Error::Archive(source)
            | Error::Import(source)
            | Error::Layer { source, .. } => source.code(),
            Error::Store(source) | Error::WrongContent { source, .. } => source.code(),
            Error::File { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
                io::ErrorKind::FileTooLarge => Code::InvalidArgument,
                _ => Code::Internal,
            },
            _ => Code::InvalidArgument,
        }
    }

    /// The text with everything that caused it, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        text
    }
}
