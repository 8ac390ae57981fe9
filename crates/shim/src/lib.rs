//! The shim: parent of a container's processes.
#![forbid(unsafe_code)]
