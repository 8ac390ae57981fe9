//! The Docker door: the Engine API over the engine.
//!
//! [`serve`] accepts connections, `router` finds the handler of a request in one flat table, and a file per noun
//! turns the request into calls of [`engine::Engine`] and their results into Docker's JSON. No policy lives here:
//! what a request field means is decided here, what is allowed by the engine. A field that is set and not supported
//! is refused by name, never ignored.
#![forbid(unsafe_code)]

mod absent;
mod archive;
mod call;
mod containers;
mod detach;
mod error;
mod events;
mod execs;
mod filters;
mod frames;
mod hijack;
mod images;
mod namespaces;
mod networks;
mod peer;
mod query;
mod reply;
mod router;
mod server;
mod system;
mod time;
mod unread;
mod volumes;
mod websocket;

pub use server::serve;
