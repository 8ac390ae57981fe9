//! The commands about the daemon, and about this program.

pub(crate) mod completion;
pub(crate) mod df;
pub(crate) mod dial_stdio;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod man;
pub(crate) mod prune;
pub(crate) mod version;
