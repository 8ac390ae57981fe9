//! The commands about the daemon, and about this program.

pub(crate) mod completion;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod version;
