//! What a container gets when nobody asks for anything else: Docker's defaults, as data.

pub mod capabilities;

use oci::runtime_spec::{Device, DeviceRule, SpecMount};

pub fn masked_paths() -> Vec<String> {
    todo!()
}

pub fn readonly_paths() -> Vec<String> {
    todo!()
}

/// The device nodes of every container.
pub fn devices() -> Vec<Device> {
    todo!()
}

/// The rules of the device controller, deny-all first.
pub fn device_rules() -> Vec<DeviceRule> {
    todo!()
}

/// `/proc`, `/dev` and what lies below, `/sys`, in order. `shm_size_bytes` for `/dev/shm`.
pub fn mounts(_shm_size_bytes: u64) -> Vec<SpecMount> {
    todo!()
}
