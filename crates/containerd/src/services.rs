//! A file per service. A service is [`crate::Door`] in a type of its own.

pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod introspection;
pub(crate) mod snapshots;
pub(crate) mod tasks;
pub(crate) mod version;
