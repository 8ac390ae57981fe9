//! Pure formats of the Open Container Initiative: no I/O, no policy.
//!
//! Each module is one document or one name of the specifications, parsed once into a type whose existence
//! proves that it is valid. Nothing here opens a file.
#![forbid(unsafe_code)]

pub mod mount;
pub mod runtime_spec;
