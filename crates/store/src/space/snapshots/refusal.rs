//! What clients are told, in containerd's words.

use api::code::Code;

/// Why a client's request for a snapshot was not done. Its code is said after the text, by the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("failed to commit snapshot: parent {0:?} is not committed")]
    BaseNotCommitted(String),
    #[error("snapshotter {0:?} cannot map the users of a snapshot, hint: overlayfs can")]
    CannotMap(&'static str),
    #[error("snapshotter {0:?} cannot put a snapshot on a parent when it is committed")]
    CannotRebase(&'static str),
    #[error("failed to get active mount: requested snapshot {0} not active or view")]
    Committed(String),
    /// How many mounts there are.
    #[error(
        "{0} mounts are not those of one snapshot that may be used so in this namespace: nothing is done with other files"
    )]
    Elsewhere(usize),
    #[error("cannot remove snapshot with child")]
    HasChild,
    #[error("the key of a snapshot {0}")]
    Key(&'static str),
    #[error("snapshot {key} stands on {layer}, which was lost when the power failed: unpack its image again")]
    LayerGone { key: String, layer: String },
    #[error(
        "label {label}: {value:?} is not container-id:host-id:size,… with a host-id for root; both labels are needed"
    )]
    Mapping { label: &'static str, value: String },
    #[error("snapshot {0} does not exist")]
    Missing(String),
    #[error("parent snapshot {0} does not exist")]
    MissingParent(String),
    #[error("failed to commit snapshot {0}: snapshot {0:?} is not active")]
    NotActive(String),
    #[error("snapshotter not loaded: {0}")]
    NotLoaded(String),
    #[error("snapshotter argument missing")]
    NotNamed,
    #[error("snapshot {0} is a container's own layer, and goes with the container")]
    OfContainer(String),
    #[error("failed to commit snapshot {0}: cannot change parent of active snapshot {0:?} on commit")]
    OtherParent(String),
    #[error("failed to create snapshot: parent {0:?} is not committed snapshot")]
    ParentNotCommitted(String),
    #[error("snapshot {0:?} is not active: nothing is written to it")]
    ReadOnly(String),
    #[error("snapshot {0:?}")]
    Taken(String),
    #[error("target snapshot {0:?}")]
    TargetTaken(String),
}

impl Refusal {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        match self {
            Refusal::BaseNotCommitted(_)
            | Refusal::Committed(_)
            | Refusal::HasChild
            | Refusal::LayerGone { .. }
            | Refusal::NotActive(_)
            | Refusal::ReadOnly(_) => Code::FailedPrecondition,
            Refusal::CannotRebase(_) | Refusal::CannotMap(_) => Code::Unimplemented,
            Refusal::Elsewhere(_)
            | Refusal::Key(_)
            | Refusal::Mapping { .. }
            | Refusal::NotLoaded(_)
            | Refusal::NotNamed
            | Refusal::OtherParent(_)
            | Refusal::ParentNotCommitted(_) => Code::InvalidArgument,
            // Clients that delete a container remove its snapshot first, and go on when it is not found.
            Refusal::OfContainer(_) | Refusal::Missing(_) | Refusal::MissingParent(_) => Code::NotFound,
            Refusal::Taken(_) | Refusal::TargetTaken(_) => Code::AlreadyExists,
        }
    }
}
