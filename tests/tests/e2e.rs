//! The end-to-end tests, one module for each noun. Everything runs through the real processes: the command line, the
//! daemon, the shim, the kernel.
#![forbid(unsafe_code)]

#[path = "e2e/as_containerd.rs"]
mod as_containerd;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/command_line.rs"]
mod command_line;
#[path = "e2e/confinement.rs"]
mod confinement;
#[path = "e2e/containerd.rs"]
mod containerd;
#[path = "e2e/containers.rs"]
mod containers;
#[path = "e2e/conversation.rs"]
mod conversation;
#[path = "e2e/crowd.rs"]
mod crowd;
#[path = "e2e/ctr.rs"]
mod ctr;
#[path = "e2e/ctr_cni.rs"]
mod ctr_cni;
#[path = "e2e/ctr_containers.rs"]
mod ctr_containers;
#[path = "e2e/ctr_convert.rs"]
mod ctr_convert;
#[path = "e2e/ctr_images.rs"]
mod ctr_images;
#[path = "e2e/ctr_seeds.rs"]
mod ctr_seeds;
#[path = "e2e/differences.rs"]
mod differences;
#[path = "e2e/files.rs"]
mod files;
#[path = "e2e/flags.rs"]
mod flags;
#[path = "e2e/images.rs"]
mod images;
#[path = "e2e/limits.rs"]
mod limits;
#[path = "e2e/logs.rs"]
mod logs;
#[path = "e2e/namespaces.rs"]
mod namespaces;
#[path = "e2e/networks.rs"]
mod networks;
#[path = "e2e/recovery.rs"]
mod recovery;
#[path = "e2e/redis.rs"]
mod redis;
#[path = "e2e/registries.rs"]
mod registries;
#[path = "e2e/remote.rs"]
mod remote;
#[path = "e2e/sandboxes.rs"]
mod sandboxes;
#[path = "e2e/seeds.rs"]
mod seeds;
#[path = "e2e/shims.rs"]
mod shims;
#[path = "e2e/streams.rs"]
mod streams;
#[path = "e2e/systemd.rs"]
mod systemd;
#[path = "e2e/terminals.rs"]
mod terminals;
#[path = "e2e/transfer.rs"]
mod transfer;
#[path = "e2e/volumes.rs"]
mod volumes;
