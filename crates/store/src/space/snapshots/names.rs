//! What snapshotters are called: the machine's overlay is `overlayfs` to containerd's clients.

/// A client's name of the overlay.
pub const OVERLAYFS: &str = "overlayfs";
/// Its name of the snapshotter that copies; the machine has the same.
pub const NATIVE: &str = "native";

const OVERLAY: &str = "overlay";

/// All of them, as the machine's snapshots have them.
pub(super) const MACHINES: [&str; 2] = [OVERLAY, NATIVE];
/// All of them, as clients have them.
pub(super) const CLIENTS: [&str; 2] = [OVERLAYFS, NATIVE];

/// The client's name of one of the machine's snapshotters.
pub(super) fn to_client(machine: &str) -> &str {
    if machine == OVERLAY { OVERLAYFS } else { machine }
}

/// The machine's name of one that a client names.
pub(crate) fn to_machine(client: &str) -> &str {
    if client == OVERLAYFS { OVERLAY } else { client }
}
