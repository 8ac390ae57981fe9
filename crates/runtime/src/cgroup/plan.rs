//! From limits to the files that say them: pure, and the one function that writes.

use std::borrow::Cow;

use linux::bpf::{self, Instruction};
use oci::runtime_spec::Resources;
use rustix::io::Errno;

use super::{Cgroup, Error, Result, Version, block_io, devices, rare, v1, v2};

/// One value for one file of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) version: Version,
    pub(super) controller: Cow<'static, str>,
    /// The files that mean this, each with the value that it takes; the first one that exists is written.
    pub(super) files: Vec<(Cow<'static, str>, String)>,
    pub(super) necessity: Necessity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Necessity {
    /// Somebody asked for it.
    Required,
    /// It only completes what was asked for.
    IfPresent,
}

impl Setting {
    pub(super) fn new(
        version: Version,
        controller: &'static str,
        file: &'static str,
        value: impl ToString,
    ) -> Setting {
        let files = vec![(file.into(), value.to_string())];
        Setting { version, controller: controller.into(), files, necessity: Necessity::Required }
    }

    /// Adds another file with the same meaning, for kernels that lack those before.
    pub(super) fn or(mut self, file: &'static str, value: impl ToString) -> Setting {
        self.files.push((file.into(), value.to_string()));
        self
    }

    pub(super) fn if_present(self) -> Setting {
        Setting { necessity: Necessity::IfPresent, ..self }
    }
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Write(Setting),
    /// Two values that bound each other: which one the kernel takes first depends on what was there before.
    WriteBoth(Setting, Setting),
    /// The device filter of cgroup v2.
    FilterDevices(Vec<Instruction>),
}

/// What a plan depends on.
pub(super) trait Machine {
    /// The version of the hierarchy that a controller lives in.
    fn version(&self, controller: &str) -> Option<Version>;
    /// The group's present `cpu.max`.
    fn cpu_max(&self) -> Option<String>;
}

impl Machine for Cgroup {
    fn version(&self, controller: &str) -> Option<Version> {
        self.controlled_by(controller).map(|directory| directory.hierarchy().version())
    }

    fn cpu_max(&self) -> Option<String> {
        self.unified()?.try_read("cpu.max").ok()
    }
}

/// Decides what to write. A controller that the machine lacks is found missing when its file is written.
pub(super) fn plan(resources: &Resources, machine: &dyn Machine) -> Result<Vec<Step>> {
    let is_v1 = |controller: &str| machine.version(controller) == Some(Version::V1);
    let mut steps = Vec::new();
    if !resources.devices.is_empty() {
        let policy = devices::Policy::read(&resources.devices)?;
        if is_v1("devices") {
            steps.extend(policy.settings()?.into_iter().map(Step::Write));
        } else {
            steps.push(Step::FilterDevices(policy.program()));
        }
    }
    if let Some(memory) = &resources.memory {
        check_memory(memory)?;
        steps.extend(if is_v1("memory") { v1::memory(memory) } else { v2::memory(memory)? });
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(cpu)?;
        steps.extend(if is_v1("cpu") { v1::cpu(cpu) } else { v2::cpu(cpu, &|| machine.cpu_max()) });
        steps.extend(realtime(cpu, if is_v1("cpu") { Version::V1 } else { Version::V2 }));
        let version = if is_v1("cpuset") { Version::V1 } else { Version::V2 };
        for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if !list.is_empty() {
                steps.push(Step::Write(Setting::new(version, "cpuset", file, list)));
            }
        }
    }
    if let Some(pids) = resources.pids {
        let version = if is_v1("pids") { Version::V1 } else { Version::V2 };
        let limit = if pids.limit > 0 { pids.limit.to_string() } else { "max".to_owned() };
        steps.push(Step::Write(Setting::new(version, "pids", "pids.max", limit)));
    }
    if let Some(io) = &resources.block_io {
        steps.extend(block_io::steps(io, is_v1("blkio"))?);
    }
    steps.extend(rare::steps(resources, machine)?);
    steps.extend(v2::unified(&resources.unified)?);
    Ok(steps)
}

/// The time of real-time tasks: the same names in v1 and, if they ever come, in v2.
fn realtime(cpu: &oci::runtime_spec::Cpu, version: Version) -> Vec<Step> {
    let period = cpu.realtime_period.filter(|&period| period != 0);
    let period = period.map(|period| Setting::new(version, "cpu", "cpu.rt_period_us", period));
    let runtime = cpu.realtime_runtime.filter(|&runtime| runtime != 0);
    let runtime = runtime.map(|runtime| Setting::new(version, "cpu", "cpu.rt_runtime_us", runtime));
    match (period, runtime) {
        (Some(period), Some(runtime)) => vec![Step::WriteBoth(period, runtime)],
        (period, runtime) => period.into_iter().chain(runtime).map(Step::Write).collect(),
    }
}

/// What no version of the kernel takes, told better than by its `EINVAL`.
fn check_memory(memory: &oci::runtime_spec::Memory) -> Result<()> {
    let fields = [
        ("memory limit", memory.limit),
        ("memory reservation", memory.reservation),
        ("swap limit", memory.swap),
    ];
    for (field, value) in fields {
        if let Some(value) = value.filter(|&value| value < -1) {
            return Err(invalid(field, value, "a number of bytes, or -1 for no limit"));
        }
    }
    if let (Some(limit), Some(swap)) = (memory.limit, memory.swap)
        && swap > 0
        && (limit == -1 || swap < limit)
    {
        return Err(invalid(
            "swap limit",
            swap,
            "it limits memory and swap together, so it is not below the memory limit",
        ));
    }
    if let Some(swappiness) = memory.swappiness {
        check_range("swappiness", swappiness, 0, 100)?;
    }
    Ok(())
}

fn check_cpu(cpu: &oci::runtime_spec::Cpu) -> Result<()> {
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        check_range("CPU shares", shares, 2, 262_144)?;
    }
    if let Some(period) = cpu.period.filter(|&period| period != 0) {
        check_range("CPU period", period, 1000, 1_000_000)?;
    }
    match cpu.quota {
        Some(quota @ 1..1000) => Err(invalid("CPU quota", quota, "at least 1000 microseconds")),
        Some(quota @ ..-1) => Err(invalid("CPU quota", quota, "microseconds, or -1 for no limit")),
        _ => Ok(()),
    }
}

pub(super) fn check_range(field: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    let hint = match field {
        "CPU period" => "1000 to 1000000 microseconds",
        "CPU shares" => "2 to 262144",
        "swappiness" => "0 to 100",
        _ => "10 to 1000",
    };
    if (least..=most).contains(&value) { Ok(()) } else { Err(invalid(field, value, hint)) }
}

pub(super) fn invalid(field: &'static str, value: impl ToString, hint: &'static str) -> Error {
    Error::InvalidLimit { field, value: value.to_string(), hint }
}

impl Step {
    pub(super) fn perform(&self, cgroup: &Cgroup) -> Result<()> {
        match self {
            Step::Write(setting) => setting.write(cgroup),
            Step::WriteBoth(first, second) => match first.write(cgroup) {
                Err(Error::Write { source: Errno::INVAL, .. }) => {
                    second.write(cgroup)?;
                    first.write(cgroup)
                }
                written => written.and_then(|()| second.write(cgroup)),
            },
            Step::FilterDevices(program) => filter_devices(cgroup, program),
        }
    }
}

impl Setting {
    fn write(&self, cgroup: &Cgroup) -> Result<()> {
        let (file, value) = &self.files[0];
        let controller = self.controller.clone().into_owned();
        let directory = cgroup
            .controlled_by(&self.controller)
            .filter(|directory| directory.hierarchy().version() == self.version);
        let Some(directory) = directory else {
            return match self.necessity {
                Necessity::IfPresent => Ok(()),
                Necessity::Required => Err(Error::MissingController {
                    controller,
                    file: file.clone().into_owned(),
                    value: value.clone(),
                }),
            };
        };
        for (file, value) in &self.files {
            match directory.try_write(file, value) {
                Err(Errno::NOENT) => {}
                Ok(()) => return Ok(()),
                Err(source) => {
                    let (path, value) = (directory.file_path(file), value.clone());
                    return Err(Error::Write { controller, path, value, help: help(file, source), source });
                }
            }
        }
        match self.necessity {
            Necessity::IfPresent => Ok(()),
            Necessity::Required => {
                Err(Error::MissingFile { controller, file: file.clone().into_owned(), value: value.clone() })
            }
        }
    }
}

fn filter_devices(cgroup: &Cgroup, program: &[Instruction]) -> Result<()> {
    let Some(directory) = cgroup.unified() else {
        return Err(Error::MissingController {
            controller: "devices".to_owned(),
            file: "devices.allow".to_owned(),
            value: "the device rules".to_owned(),
        });
    };
    let failed = |step| move |source| Error::DeviceFilter { step, path: directory.host_path(), source };
    let filter = bpf::load_device_filter(program).map_err(failed("load"))?;
    bpf::attach_device_filter(directory.fd(), std::os::fd::AsFd::as_fd(&filter)).map_err(failed("attach"))
}

/// What the kernel most likely means.
fn help(file: &str, errno: Errno) -> Option<&'static str> {
    Some(match (file, errno) {
        ("memory.limit_in_bytes" | "memory.max" | "memory.memsw.limit_in_bytes", Errno::BUSY) => {
            "the container uses more than that, and the kernel could not take it back"
        }
        ("memory.limit_in_bytes", Errno::INVAL) => {
            "the limit may not be above that of memory and swap together; change both"
        }
        ("memory.memsw.limit_in_bytes", Errno::INVAL) => {
            "the limit of memory and swap together may not be below the memory limit; change both"
        }
        ("cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max", Errno::INVAL) => {
            "the share of a CPU may not be above that of the parent cgroup"
        }
        ("cpuset.cpus" | "cpuset.mems", Errno::INVAL | Errno::RANGE | Errno::ACCESS | Errno::NOSPC) => {
            "it is a list like `0-2,7` of what exists and the parent cgroup has"
        }
        ("devices.allow", Errno::PERM) => "the parent cgroup does not allow this device itself",
        (_, Errno::ROFS) => "cgroups are mounted read-only here",
        (_, Errno::ACCESS | Errno::PERM) => "this cgroup is not delegated to the user that corten runs as",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use oci::runtime_spec::{
        BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, NetworkResources, Pids, Rdma,
        ThrottleDevice, WeightDevice,
    };

    use super::*;

    /// A machine whose controllers all live in one version, in both (`cpu` in v2), or nowhere.
    enum Fake {
        V1,
        V2 { cpu_max: &'static str },
        Hybrid,
        Nothing,
    }

    impl Machine for Fake {
        fn version(&self, controller: &str) -> Option<Version> {
            match self {
                Fake::V1 => Some(Version::V1),
                Fake::V2 { .. } => Some(Version::V2),
                Fake::Hybrid if controller == "cpu" => Some(Version::V2),
                Fake::Hybrid => Some(Version::V1),
                Fake::Nothing => None,
            }
        }

        fn cpu_max(&self) -> Option<String> {
            match self {
                Fake::V2 { cpu_max } => Some((*cpu_max).to_owned()),
                _ => None,
            }
        }
    }

    const V2: Fake = Fake::V2 { cpu_max: "max 100000\n" };

    fn printed(resources: &Resources, machine: &Fake) -> Result<Vec<String>> {
        let print = |setting: &Setting| {
            let files: Vec<String> =
                setting.files.iter().map(|(file, value)| format!("{file}={value}")).collect();
            let optional = if setting.necessity == Necessity::IfPresent { "?" } else { "" };
            format!("{:?} {}{optional}", setting.version, files.join("|"))
        };
        Ok(plan(resources, machine)?
            .iter()
            .map(|step| match step {
                Step::Write(setting) => print(setting),
                Step::WriteBoth(first, second) => format!("{} & {}", print(first), print(second)),
                Step::FilterDevices(_) => "filter devices".to_owned(),
            })
            .collect())
    }

    fn memory(limit: Option<i64>, swap: Option<i64>) -> Resources {
        Resources { memory: Some(Memory { limit, swap, ..Memory::default() }), ..Resources::default() }
    }

    fn cpu(shares: Option<u64>, quota: Option<i64>, period: Option<u64>) -> Resources {
        Resources { cpu: Some(Cpu { shares, quota, period, ..Cpu::default() }), ..Resources::default() }
    }

    #[test]
    fn memory_limits_are_said_in_each_versions_terms() {
        for (limit, swap, v1, v2) in [
            (None, None, "", ""),
            (Some(0), Some(0), "", ""),
            (Some(100), None, "V1 memory.limit_in_bytes=100", "V2 memory.max=100"),
            (
                Some(100),
                Some(300),
                "V1 memory.limit_in_bytes=100 & V1 memory.memsw.limit_in_bytes=300",
                "V2 memory.max=100, V2 memory.swap.max=200",
            ),
            (
                Some(100),
                Some(100),
                "V1 memory.limit_in_bytes=100 & V1 memory.memsw.limit_in_bytes=100",
                "V2 memory.max=100, V2 memory.swap.max=0",
            ),
            (
                Some(100),
                Some(-1),
                "V1 memory.limit_in_bytes=100 & V1 memory.memsw.limit_in_bytes=-1",
                "V2 memory.max=100, V2 memory.swap.max=max",
            ),
            (
                Some(-1),
                None,
                "V1 memory.limit_in_bytes=-1 & V1 memory.memsw.limit_in_bytes=-1?",
                "V2 memory.max=max, V2 memory.swap.max=max?",
            ),
        ] {
            let resources = memory(limit, swap);
            assert_eq!(printed(&resources, &Fake::V1).unwrap().join(", "), v1, "{limit:?} {swap:?}");
            assert_eq!(printed(&resources, &V2).unwrap().join(", "), v2, "{limit:?} {swap:?}");
        }
        // Without the memory limit v2 cannot know its share of the sum.
        assert_eq!(
            printed(&memory(None, Some(300)), &Fake::V1).unwrap(),
            ["V1 memory.memsw.limit_in_bytes=300"]
        );
        assert!(printed(&memory(None, Some(300)), &V2).is_err());
    }

    #[test]
    fn what_only_v1_has_is_asked_for_by_its_v1_name() {
        let memory = Memory { swappiness: Some(5), disable_oom_killer: Some(true), ..Memory::default() };
        let resources = Resources { memory: Some(memory), ..Resources::default() };
        assert_eq!(printed(&resources, &V2).unwrap(), ["V2 memory.swappiness=5", "V2 memory.oom_control=1"]);
    }

    #[test]
    fn processor_time_keeps_what_was_not_named() {
        const LIMITED: Fake = Fake::V2 { cpu_max: "20000 50000\n" };
        for (quota, period, fresh, limited) in [
            (Some(5000), Some(20000), "cpu.max=5000 20000", "cpu.max=5000 20000"),
            (Some(5000), None, "cpu.max=5000 100000", "cpu.max=5000 50000"),
            (Some(-1), None, "cpu.max=max 100000", "cpu.max=max 50000"),
            (None, Some(20000), "cpu.max=max 20000", "cpu.max=20000 20000"),
        ] {
            let resources = cpu(None, quota, period);
            assert_eq!(printed(&resources, &V2).unwrap(), [format!("V2 {fresh}")], "{quota:?} {period:?}");
            assert_eq!(
                printed(&resources, &LIMITED).unwrap(),
                [format!("V2 {limited}")],
                "{quota:?} {period:?}"
            );
        }
        let resources = cpu(Some(512), Some(-1), Some(20000));
        assert_eq!(
            printed(&resources, &Fake::V1).unwrap(),
            ["V1 cpu.shares=512", "V1 cpu.cfs_period_us=20000 & V1 cpu.cfs_quota_us=-1"]
        );
        assert!(printed(&cpu(Some(0), Some(0), Some(0)), &V2).unwrap().is_empty());
    }

    #[test]
    fn each_controller_is_told_in_the_version_that_it_lives_in() {
        let resources = Resources {
            devices: vec![DeviceRule { allow: false, access: "rwm".to_owned(), ..DeviceRule::default() }],
            cpu: Some(Cpu { shares: Some(1024), cpus: "0-1".to_owned(), ..Cpu::default() }),
            pids: Some(Pids { limit: 0 }),
            block_io: Some(BlockIo { weight: Some(500), ..BlockIo::default() }),
            unified: [("memory.high".to_owned(), "1G".to_owned())].into(),
            ..memory(Some(100), None)
        };
        let v2 = "filter devices, V2 memory.max=100, V2 cpu.weight=100, V2 cpuset.cpus=0-1, V2 pids.max=max, \
            V2 io.bfq.weight=500|io.weight=default 4950, V2 memory.high=1G";
        for (machine, expected) in [
            (
                Fake::Hybrid,
                "V1 devices.deny=a, V1 memory.limit_in_bytes=100, V2 cpu.weight=100, V1 cpuset.cpus=0-1, \
                V1 pids.max=max, V1 blkio.weight=500|blkio.bfq.weight=500, V2 memory.high=1G",
            ),
            (V2, v2),
            // Writing them then tells what is missing.
            (Fake::Nothing, v2),
        ] {
            assert_eq!(printed(&resources, &machine).unwrap().join(", "), expected);
        }
    }

    #[test]
    fn single_devices_are_named_by_their_numbers() {
        let rate = |rate| vec![ThrottleDevice { major: 8, minor: 16, rate }];
        let io = BlockIo {
            weight: None,
            weight_device: vec![WeightDevice { major: 8, minor: 0, weight: 100 }],
            throttle_read_bps_device: rate(1),
            throttle_write_bps_device: rate(2),
            throttle_read_iops_device: rate(3),
            throttle_write_iops_device: rate(4),
        };
        let resources = Resources { block_io: Some(io), ..Resources::default() };
        let v1 = [
            "V1 blkio.weight_device=8:0 100|blkio.bfq.weight_device=8:0 100",
            "V1 blkio.throttle.read_bps_device=8:16 1",
            "V1 blkio.throttle.write_bps_device=8:16 2",
            "V1 blkio.throttle.read_iops_device=8:16 3",
            "V1 blkio.throttle.write_iops_device=8:16 4",
        ];
        assert_eq!(printed(&resources, &Fake::V1).unwrap(), v1);
        let v2 = [
            "V2 io.weight=8:0 910|io.bfq.weight=8:0 100",
            "V2 io.max=8:16 rbps=1",
            "V2 io.max=8:16 wbps=2",
            "V2 io.max=8:16 riops=3",
            "V2 io.max=8:16 wiops=4",
        ];
        assert_eq!(printed(&resources, &V2).unwrap(), v2);
    }

    #[test]
    fn real_time_is_asked_for_by_its_v1_name() {
        let cpu = Cpu { realtime_period: Some(20), realtime_runtime: Some(10), ..Cpu::default() };
        let resources = Resources { cpu: Some(cpu), ..Resources::default() };
        let want = |version| [format!("{version} cpu.rt_period_us=20 & {version} cpu.rt_runtime_us=10")];
        assert_eq!(printed(&resources, &Fake::V1).unwrap(), want("V1"));
        // Writing them then tells that v2 has no such file.
        assert_eq!(printed(&resources, &V2).unwrap(), want("V2"));
    }

    #[test]
    fn block_io_weights_span_their_whole_range() {
        for (weight, expected) in [(10, "default 1"), (100, "default 910"), (1000, "default 10000")] {
            let resources = Resources {
                block_io: Some(BlockIo { weight: Some(weight), ..BlockIo::default() }),
                ..Resources::default()
            };
            let printed = printed(&resources, &V2).unwrap().remove(0);
            assert!(printed.ends_with(&format!("|io.weight={expected}")), "{printed}");
        }
    }

    #[test]
    fn rare_limits_are_told_in_the_version_that_has_them() {
        let resources = Resources {
            hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }],
            network: Some(NetworkResources {
                class_id: Some(0x10_0001),
                priorities: vec![InterfacePriority { name: "eth0".into(), priority: 5 }],
            }),
            rdma: [("mlx".to_owned(), Rdma { hca_handles: Some(3), hca_objects: None })].into(),
            cpu: Some(Cpu { idle: Some(1), burst: Some(1000), ..Cpu::default() }),
            ..Resources::default()
        };
        let v1 = "V1 hugetlb.2MB.limit_in_bytes=4194304, V1 hugetlb.2MB.rsvd.limit_in_bytes=4194304?, \
            V1 net_cls.classid=1048577, V1 net_prio.ifpriomap=eth0 5, V1 rdma.max=mlx hca_handle=3, V1 cpu.idle=1, \
            V1 cpu.cfs_burst_us=1000";
        let v2 = "V2 hugetlb.2MB.max=4194304, V2 hugetlb.2MB.rsvd.max=4194304?, V1 net_cls.classid=1048577, \
            V1 net_prio.ifpriomap=eth0 5, V2 rdma.max=mlx hca_handle=3, V2 cpu.idle=1, V2 cpu.max.burst=1000";
        for (machine, expected) in [(Fake::V1, v1), (V2, v2)] {
            assert_eq!(printed(&resources, &machine).unwrap().join(", "), expected);
        }
        for size in ["", "MB", "0MB", "2", "2MiB", "../2MB", "2 MB"] {
            let hugepage_limits = vec![HugepageLimit { page_size: size.into(), limit: 1 }];
            let resources = Resources { hugepage_limits, ..Resources::default() };
            assert!(printed(&resources, &V2).is_err(), "{size}");
        }
        let rdma = [("a b".to_owned(), Rdma::default())].into();
        assert!(printed(&Resources { rdma, ..Resources::default() }, &V2).is_err());
    }
}
