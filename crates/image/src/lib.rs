//! Images: archives in, layers unpacked, in a confined worker.
#![forbid(unsafe_code)]

mod compression;
pub mod tar;
