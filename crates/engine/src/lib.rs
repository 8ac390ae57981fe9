//! The services, a file per noun: policy lives here, once.
#![forbid(unsafe_code)]
