//! `corten-net`: names and published ports that outlive the daemon.
#![forbid(unsafe_code)]
