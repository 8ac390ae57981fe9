//! Images: archives in, layers unpacked, in a confined worker.
#![forbid(unsafe_code)]

mod apply;
mod compression;
pub mod tar;
pub mod worker;
