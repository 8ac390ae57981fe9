//! The one store: content, metadata, snapshots, garbage collection, intents.
#![forbid(unsafe_code)]
