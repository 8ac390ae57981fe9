//! A file per service. A service is [`crate::Door`] in a type of its own.

pub(crate) mod containers;
pub(crate) mod content;
pub(crate) mod diff;
pub(crate) mod events;
mod foreign;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod introspection;
pub(crate) mod leases;
pub(crate) mod namespaces;
mod opaque;
pub(crate) mod sandboxes;
pub(crate) mod snapshots;
pub(crate) mod streaming;
pub(crate) mod tasks;
pub(crate) mod transfer;
pub(crate) mod version;

#[cfg(test)]
mod tests;
