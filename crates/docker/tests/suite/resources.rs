//! Every limit that a container can be made with, as the kernel has it afterwards.

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::door::{Door, with_busybox};

/// A parent of control groups that is gone when the test is.
struct Parent(String);

impl Parent {
    fn new(name: &str) -> Parent {
        Parent(format!("corten-test-parent-{name}-{}", std::process::id()))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        for hierarchy in hierarchies() {
            let _ = std::fs::remove_dir(hierarchy.join(&self.0));
        }
    }
}

/// `/sys/fs/cgroup` and what is mounted below it.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let below = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    below.filter(|path| path.is_dir()).chain([root.clone()]).collect()
}

/// The file of the container's group, by its name in v1 and in v2.
fn limit(group: &str, v1: &str, v2: &str) -> String {
    let files = hierarchies().into_iter().flat_map(|root| [v1, v2].map(|file| root.join(group).join(file)));
    let mut texts = files.filter_map(|path| std::fs::read_to_string(path).ok());
    texts.next().unwrap_or_else(|| panic!("no {v1} or {v2} in {group}")).trim().to_owned()
}

fn block_device() -> Option<(String, String)> {
    let mut devices = std::fs::read_dir("/sys/block").ok()?.map(|entry| entry.unwrap());
    devices.find_map(|device| {
        let node = format!("/dev/{}", device.file_name().to_string_lossy());
        let is_block = std::fs::metadata(&node).is_ok_and(|node| node.file_type().is_block_device());
        let number = std::fs::read_to_string(device.path().join("dev")).ok()?;
        is_block.then(|| (node, number.trim().to_owned()))
    })
}

fn inspect(door: &Door, id: &str) -> Value {
    door.get(&format!("/containers/{id}/json")).json()["HostConfig"].clone()
}

#[test]
fn limits_reach_the_kernel_and_inspect_shows_them() {
    let parent = Parent::new("all");
    with_busybox(|door| {
        let (node, number) = block_device().expect("this machine has a block device");
        let host = json!({
            "Memory": 64 << 20, "MemorySwap": 96 << 20, "MemoryReservation": 32 << 20, "PidsLimit": 50, "OomScoreAdj": 100,
            "CpuPeriod": 50_000, "CpuQuota": 25_000, "CpusetCpus": "0", "CpusetMems": "0", "CpuShares": 1024,
            "BlkioDeviceReadBps": [{"Path": node, "Rate": 1 << 20}], "BlkioDeviceWriteIOps": [{"Path": node, "Rate": 77}],
            "DeviceCgroupRules": ["c 10:229 rwm"], "CgroupParent": parent.0,
        });
        let id = door.create("all", "sleep 1000", json!({"HostConfig": host}));
        assert_eq!(door.post(&format!("/containers/{id}/start"), None).status, 204);
        let group = format!("{}/{id}", parent.0);
        for (v1, v2, of_v1, of_v2) in [
            ("memory.limit_in_bytes", "memory.max", "67108864", "67108864"),
            ("memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432"),
            ("pids.max", "pids.max", "50", "50"),
            ("cpu.cfs_quota_us", "cpu.max", "25000", "25000 50000"),
            ("cpuset.cpus", "cpuset.cpus", "0", "0"),
            ("blkio.throttle.read_bps_device", "io.max", &format!("{number} 1048576"), "rbps=1048576"),
            ("blkio.throttle.write_iops_device", "io.max", &format!("{number} 77"), "wiops=77"),
        ] {
            let found = limit(&group, v1, v2);
            assert!(found == of_v1 || found.contains(of_v2), "{v1}: {found}");
        }
        let pid = door.get(&format!("/containers/{id}/json")).json()["State"]["Pid"].clone();
        assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "100");
        let shown = inspect(door, &id);
        for (field, value) in host.as_object().unwrap() {
            assert_eq!(shown[field.as_str()], *value, "{field}");
        }
        assert_eq!(door.delete(&format!("/containers/{id}?force=1")).status, 204);
        assert!(!hierarchies().iter().any(|root| root.join(&group).exists()), "the group goes with it");
    });
}

#[test]
fn what_cannot_be_limited_is_refused_by_name() {
    with_busybox(|door| {
        let create = |host: Value| {
            let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": host});
            door.post("/containers/create", Some(&body))
        };
        for (host, text) in [
            (json!({"DeviceCgroupRules": ["c 1:3"]}), "invalid device cgroup rule format: 'c 1:3'"),
            (
                json!({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}),
                "`/dev/null`: it is not a block device",
            ),
            (json!({"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 5}]}), "Range of blkio weight"),
            (json!({"CpuPeriod": 5}), "CPU cfs period can not be less than 1ms"),
            (json!({"CpuQuota": 5}), "CPU cfs quota can not be less than 1ms"),
            (
                json!({"CpuRealtimePeriod": 5, "CpuRealtimeRuntime": 6}),
                "cannot be higher than cpu real-time period",
            ),
            (json!({"CgroupParent": "/a/../b"}), "invalid cgroup parent"),
        ] {
            let refused = create(host.clone());
            assert_eq!(refused.status, 400, "{host}: {refused:?}");
            assert!(refused.message().contains(text), "{host}: {}", refused.message());
        }
        let warned = create(json!({"KernelMemory": 64 << 20}));
        assert_eq!(warned.status, 201, "{warned:?}");
        assert!(warned.json()["Warnings"][0].as_str().unwrap().contains("kernel memory limit"), "{warned:?}");
        // No kernel with both versions of control groups has this one; the start says which file was meant.
        let real = create(json!({"CpuRealtimeRuntime": 1000}));
        let id = real.json()["Id"].as_str().unwrap().to_owned();
        let started = door.post(&format!("/containers/{id}/start"), None);
        assert!(started.status >= 400 && started.message().contains("cpu.rt_runtime_us"), "{started:?}");
    });
}
