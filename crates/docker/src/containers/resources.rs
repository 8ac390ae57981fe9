//! The limits of `HostConfig` that concern single devices, and those that mean nothing any more.

use api::docker::host_config::{HostConfig, ThrottleDevice, WeightDevice};
use engine::containers::spec::{DeviceRate, DeviceWeight, ResourceSpec};

use crate::error::{Error, Result};

/// Reads the lists of block devices.
pub(crate) fn read_block_io(host: &HostConfig, resources: &mut ResourceSpec) {
    let weights = host.blkio_weight_device.iter().flatten();
    resources.blkio_weight_devices =
        weights.map(|one| DeviceWeight { path: one.path.clone(), weight: one.weight }).collect();
    let rates = |list: &Option<Vec<ThrottleDevice>>| -> Vec<DeviceRate> {
        list.iter().flatten().map(|one| DeviceRate { path: one.path.clone(), rate: one.rate }).collect()
    };
    resources.blkio_read_bps = rates(&host.blkio_device_read_bps);
    resources.blkio_write_bps = rates(&host.blkio_device_write_bps);
    resources.blkio_read_iops = rates(&host.blkio_device_read_iops);
    resources.blkio_write_iops = rates(&host.blkio_device_write_iops);
}

/// The lists of block devices as inspect shows them.
pub(crate) fn describe_block_io(resources: &ResourceSpec, host: &mut HostConfig) {
    let weights = resources.blkio_weight_devices.iter();
    host.blkio_weight_device =
        Some(weights.map(|one| WeightDevice { path: one.path.clone(), weight: one.weight }).collect());
    let rates = |list: &[DeviceRate]| {
        Some(list.iter().map(|one| ThrottleDevice { path: one.path.clone(), rate: one.rate }).collect())
    };
    host.blkio_device_read_bps = rates(&resources.blkio_read_bps);
    host.blkio_device_write_bps = rates(&resources.blkio_write_bps);
    host.blkio_device_read_iops = rates(&resources.blkio_read_iops);
    host.blkio_device_write_iops = rates(&resources.blkio_write_iops);
}

/// What no kernel of today has, and dockerd discards with these words.
pub(crate) fn warnings(host: &HostConfig) -> Vec<String> {
    let discarded = [(host.kernel_memory, "kernel memory"), (host.kernel_memory_tcp, "kernel memory TCP")];
    let set = discarded.iter().filter(|(limit, _)| *limit != 0);
    set.map(|(_, what)| {
        format!("Your kernel does not support {what} limit capabilities or the cgroup is not mounted. Limitation discarded.")
    })
    .collect()
}

/// Refuses what dockerd ignores in an update.
pub(crate) fn check_changes(asked: &HostConfig) -> Result<()> {
    fn has<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|list| !list.is_empty())
    }
    let fixed = [
        (has(&asked.blkio_weight_device), "BlkioWeightDevice"),
        (has(&asked.blkio_device_read_bps), "BlkioDeviceReadBps"),
        (has(&asked.blkio_device_write_bps), "BlkioDeviceWriteBps"),
        (has(&asked.blkio_device_read_iops), "BlkioDeviceReadIOps"),
        (has(&asked.blkio_device_write_iops), "BlkioDeviceWriteIOps"),
        (!asked.cgroup_parent.is_empty(), "CgroupParent"),
        (has(&asked.devices), "Devices"),
        (has(&asked.device_cgroup_rules), "DeviceCgroupRules"),
        (!matches!(asked.memory_swappiness, None | Some(-1)), "MemorySwappiness"),
        (asked.oom_kill_disable == Some(true), "OomKillDisable"),
        (has(&asked.ulimits), "Ulimits"),
    ];
    match fixed.iter().find(|(is_set, _)| *is_set) {
        Some((_, field)) => Err(Error::not_there_yet(format!("changing {field} of a container that exists"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::{describe, read};
    use super::{check_changes, warnings};
    use api::docker::host_config::HostConfig;
    use engine::containers::ContainerSpec;
    use serde_json::{Value, json};

    fn host(body: &Value) -> HostConfig {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for body in [
            json!({"Devices": [{"PathOnHost": "/dev/null"}]}),
            json!({"MemorySwappiness": 5}),
            json!({"Ulimits": [{"Name": "nofile"}]}),
            json!({"BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}]}),
        ] {
            let field = body.as_object().unwrap().keys().next().unwrap();
            let error = check_changes(&host(&body)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("changing {field} of")), "{error}");
        }
        check_changes(&host(&json!({"MemorySwappiness": -1, "Devices": [], "OomKillDisable": false})))
            .unwrap();
    }

    #[test]
    fn what_was_read_is_shown_and_read_again_the_same() {
        let rates = |rate| json!([{"Path": "/dev/a", "Rate": rate}]);
        let asked = host(&json!({
            "CpuRealtimePeriod": 6, "CpuRealtimeRuntime": 5, "CgroupParent": "/x", "DeviceCgroupRules": ["c 1:3 r"],
            "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 11}], "BlkioDeviceReadBps": rates(1),
            "BlkioDeviceWriteBps": rates(2), "BlkioDeviceReadIOps": rates(3), "BlkioDeviceWriteIOps": rates(4),
        }));
        let mut spec = ContainerSpec::default();
        read(asked, &mut spec).unwrap();
        let mut again = ContainerSpec::default();
        read(describe(&spec), &mut again).unwrap();
        let limits = |spec: &ContainerSpec| {
            (spec.resources.clone(), spec.device_cgroup_rules.clone(), spec.cgroup_parent.clone())
        };
        assert_eq!(limits(&spec), limits(&again));
        assert_eq!((spec.resources.blkio_read_bps[0].rate, spec.resources.blkio_write_iops[0].rate), (1, 4));
        assert_eq!((spec.cgroup_parent.as_str(), spec.device_cgroup_rules.len()), ("/x", 1));
    }

    #[test]
    fn limits_of_kernel_memory_are_discarded_with_a_word() {
        assert_eq!(warnings(&host(&json!({"KernelMemory": 0}))), Vec::<String>::new());
        let warned = warnings(&host(&json!({"KernelMemory": 1, "KernelMemoryTCP": 1})));
        assert!(warned[0].contains("support kernel memory limit"), "{warned:?}");
        assert!(warned[1].contains("support kernel memory TCP limit"), "{warned:?}");
    }
}
