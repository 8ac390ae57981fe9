//! What of a specification is not possible, found out before anything happens. Pure.

mod cpuset;
mod mounts;

use super::health;
use super::spec::{
    ContainerSpec, IpcMode, NetworkMode, PidMode, ResourceSpec, RestartPolicy, SeccompMode, UtsMode,
};
use crate::error::{Error, Result};
use crate::signals;

/// Below this no process comes to life; Docker has the same bound.
const MIN_MEMORY_BYTES: i64 = 6 * 1024 * 1024;
/// Billionths of a CPU; the kernel's smallest quota of 1 ms in a period of 100 ms.
const MIN_NANO_CPUS: i64 = 10_000_000;
const BLKIO_WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;
const CPU_PERIODS_US: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
const CPU_SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
const HOSTNAME_MAX: usize = 64;

/// Sysctls of the IPC namespace.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `--ulimit` names and the kernel's.
const ULIMITS: [(&str, &str); 16] = [
    ("as", "RLIMIT_AS"),
    ("core", "RLIMIT_CORE"),
    ("cpu", "RLIMIT_CPU"),
    ("data", "RLIMIT_DATA"),
    ("fsize", "RLIMIT_FSIZE"),
    ("locks", "RLIMIT_LOCKS"),
    ("memlock", "RLIMIT_MEMLOCK"),
    ("msgqueue", "RLIMIT_MSGQUEUE"),
    ("nice", "RLIMIT_NICE"),
    ("nofile", "RLIMIT_NOFILE"),
    ("nproc", "RLIMIT_NPROC"),
    ("rss", "RLIMIT_RSS"),
    ("rtprio", "RLIMIT_RTPRIO"),
    ("rttime", "RLIMIT_RTTIME"),
    ("sigpending", "RLIMIT_SIGPENDING"),
    ("stack", "RLIMIT_STACK"),
];

/// The kernel's name of a `--ulimit`.
pub(crate) fn rlimit_name(name: &str) -> Option<&'static str> {
    ULIMITS.iter().find(|(known, _)| *known == name).map(|(_, kernel)| *kernel)
}

/// Refuses what cannot be; returns what is odd.
pub(crate) fn check(spec: &ContainerSpec) -> Result<Vec<String>> {
    if spec.auto_remove && spec.restart != RestartPolicy::No {
        return invalid("can't create 'AutoRemove' container with restart policy".into());
    }
    if spec.hostname.len() > HOSTNAME_MAX || spec.hostname.contains(['/', '\0', '\n']) {
        return invalid(format!("invalid hostname: {}", spec.hostname));
    }
    if !spec.hostname.is_empty() && matches!(spec.network, NetworkMode::Container(_)) {
        return invalid("conflicting options: hostname and the network mode".into());
    }
    if !spec.hostname.is_empty() && spec.uts == UtsMode::Host {
        return invalid("conflicting options: hostname and the UTS mode".into());
    }
    if !spec.working_dir.is_empty() && !spec.working_dir.starts_with('/') {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            spec.working_dir
        ));
    }
    if !spec.stop_signal.is_empty() {
        signals::parse(&spec.stop_signal)?;
    }
    if spec.shm_size_bytes == Some(0) {
        return invalid("SHM size can not be less than 0".into());
    }
    spec.health_check.as_ref().map_or(Ok(()), health::check)?;
    check_texts(spec)?;
    mounts::check(spec)?;
    check_sysctls(spec)?;
    check_rights(spec)?;
    let mut warnings = check_resources(&spec.resources)?;
    if spec.init && spec.pid != PidMode::Private {
        warnings.push("--init has no effect: the container has no pid namespace of its own".into());
    }
    Ok(warnings)
}

/// What an image may have brought along.
pub(crate) fn check_merged(spec: &ContainerSpec) -> Result<()> {
    check_texts(spec)?;
    mounts::check(spec)
}

fn invalid<T>(message: String) -> Result<T> {
    Err(Error::InvalidArgument(message))
}

/// Nothing that reaches the kernel as a C string has a zero byte.
fn check_texts(spec: &ContainerSpec) -> Result<()> {
    let lists = [spec.entrypoint.as_deref(), spec.command.as_deref(), Some(&spec.env[..])];
    let mut texts =
        lists.into_iter().flatten().flatten().chain([&spec.user, &spec.working_dir, &spec.domainname]);
    match texts.find(|text| text.contains('\0')) {
        Some(text) => invalid(format!("{text:?} contains a zero byte")),
        None => Ok(()),
    }
}

fn check_sysctls(spec: &ContainerSpec) -> Result<()> {
    for name in spec.sysctls.keys() {
        let is_ipc = IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.");
        if is_ipc && matches!(spec.ipc, IpcMode::Host) {
            return invalid(format!("sysctl '{name}' not allowed with host ipc mode"));
        }
        if name.starts_with("net.") && spec.network == NetworkMode::Host {
            return invalid(format!("sysctl '{name}' not allowed with host network mode"));
        }
        if !is_ipc && !name.starts_with("net.") && name != "kernel.domainname" {
            return invalid(format!("sysctl '{name}' is not in a separate kernel namespace"));
        }
        if name.contains('/') || name.split('.').any(str::is_empty) {
            return invalid(format!("sysctl '{name}' is not a valid name"));
        }
    }
    Ok(())
}

fn check_rights(spec: &ContainerSpec) -> Result<()> {
    for (field, names) in [("CapAdd", &spec.cap_add), ("CapDrop", &spec.cap_drop)] {
        if let Some(name) = names.iter().find_map(|name| runtime::defaults::capabilities::unknown(name)) {
            return invalid(format!("invalid {field}: unknown capability: {name:?}"));
        }
    }
    let capabilities =
        runtime::defaults::capabilities::resolve(&spec.cap_add, &spec.cap_drop, spec.privileged)
            .map_err(|error| Error::InvalidArgument(error.to_string()))?;
    if let SeccompMode::Profile(profile) = &spec.seccomp {
        runtime::seccomp::parse_profile(profile, &capabilities)
            .map_err(|error| Error::InvalidArgument(format!("invalid seccomp profile: {error}")))?;
    }
    for limit in &spec.ulimits {
        if rlimit_name(&limit.name).is_none() {
            return invalid(format!("invalid ulimit type: {}", limit.name));
        }
        if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            ));
        }
    }
    for device in &spec.devices {
        let valid =
            !device.permissions.is_empty() && device.permissions.bytes().all(|byte| b"rwm".contains(&byte));
        if !valid {
            return invalid(format!("invalid device mode: {}", device.permissions));
        }
        if !device.host_path.starts_with('/') || !device.container_path.starts_with('/') {
            return invalid(format!("device `{}` is not an absolute path", device.host_path));
        }
    }
    Ok(())
}

/// Docker's words for a score that the kernel does not take.
pub fn oom_score_adj_out_of_range(score: i64) -> String {
    format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")
}

pub(super) fn check_resources(resources: &ResourceSpec) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let memory = resources.memory_bytes.unwrap_or(0);
    if memory != 0 && memory < MIN_MEMORY_BYTES {
        return invalid("Minimum memory limit allowed is 6MB".into());
    }
    match resources.memory_swap_bytes {
        Some(swap) if swap > 0 && memory == 0 => {
            return invalid(
                "You should always set the Memory limit when using Memoryswap limit, see usage".into(),
            );
        }
        Some(swap) if swap > 0 && swap < memory => {
            return invalid("Minimum memoryswap limit should be larger than memory limit, see usage".into());
        }
        _ => {}
    }
    if let Some(reservation) = resources.memory_reservation_bytes
        && memory != 0
        && reservation > memory
    {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage".into(),
        );
    }
    if resources.memory_swappiness.is_some_and(|swappiness| swappiness > 100) {
        return invalid("Invalid value for memory swappiness. Valid range is 0-100".into());
    }
    if let Some(nano_cpus) = resources.nano_cpus
        && nano_cpus != 0
    {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
        let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        if !(MIN_NANO_CPUS..=most).contains(&nano_cpus) {
            return invalid(format!(
                "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
        if resources.cpu_quota_us.is_some_and(|quota| quota != 0) {
            return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set".into());
        }
    }
    if let Some(shares) = resources.cpu_shares
        && shares != 0
        && !CPU_SHARES.contains(&shares)
    {
        warnings
            .push(format!("CPU shares {shares} are outside of 2 to 262144; the kernel takes the nearest"));
    }
    if resources.oom_kill_disable && memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
    }
    if let Some(score) = resources.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return invalid(oom_score_adj_out_of_range(score.into()));
    }
    let weights = resources.blkio_weight_devices.iter().map(|device| device.weight);
    let mut weights = weights.chain(resources.blkio_weight.filter(|weight| *weight != 0));
    if weights.any(|weight| !BLKIO_WEIGHTS.contains(&weight)) {
        return invalid("Range of blkio weight is from 10 to 1000".into());
    }
    check_cpu_time(resources)?;
    cpuset::check(resources)?;
    Ok(warnings)
}

fn check_cpu_time(resources: &ResourceSpec) -> Result<()> {
    if resources.cpu_period_us.is_some_and(|period| period != 0 && !CPU_PERIODS_US.contains(&period)) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".into(),
        );
    }
    if resources.cpu_quota_us.is_some_and(|quota| (1..1000).contains(&quota)) {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".into());
    }
    if let (Some(period), Some(runtime)) =
        (resources.cpu_realtime_period_us, resources.cpu_realtime_runtime_us)
        && u64::try_from(runtime).is_ok_and(|runtime| runtime > period)
    {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::spec::{BindMount, DeviceWeight, MountSpec, TmpfsMount, Ulimit, VolumeMount};
    use super::*;

    fn tmpfs(target: &str) -> MountSpec {
        MountSpec::Tmpfs(TmpfsMount { target: target.into(), ..TmpfsMount::default() })
    }

    fn bind(source: &str) -> MountSpec {
        MountSpec::Bind(BindMount { source: source.into(), target: "/x".into(), ..BindMount::default() })
    }

    fn volume(name: &str) -> MountSpec {
        MountSpec::Volume(VolumeMount { name: name.into(), target: "/x".into(), ..VolumeMount::default() })
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_word_that_is_wrong() {
        type Change = fn(&mut ContainerSpec);
        let cases: [(Change, &str); 23] = [
            (|spec| (spec.auto_remove, spec.restart) = (true, RestartPolicy::Always), "AutoRemove"),
            (|spec| spec.hostname = "a/b".into(), "a/b"),
            (|spec| spec.working_dir = "relative".into(), "relative"),
            (|spec| spec.stop_signal = "NOPE".into(), "NOPE"),
            (|spec| spec.user = "a\0b".into(), "zero byte"),
            (|spec| spec.mounts = vec![tmpfs("x")], "absolute"),
            (|spec| spec.mounts = vec![tmpfs("/x"), tmpfs("/x/")], "Duplicate"),
            (|spec| spec.mounts = vec![tmpfs("/a/..")], "'/'"),
            (|spec| spec.mounts = vec![bind("up/down")], "up/down"),
            (|spec| spec.mounts = vec![volume("../x")], "../x"),
            (
                |spec| drop(spec.sysctls.insert("kernel.core_pattern".into(), "x".into())),
                "kernel.core_pattern",
            ),
            (|spec| drop(spec.sysctls.insert("net./../x".into(), "x".into())), "net./../x"),
            (
                |spec| {
                    spec.network = NetworkMode::Host;
                    spec.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
                },
                "host network",
            ),
            (|spec| spec.ulimits = vec![Ulimit { name: "nothing".into(), soft: 1, hard: 1 }], "nothing"),
            (|spec| spec.ulimits = vec![Ulimit { name: "nofile".into(), soft: 2, hard: 1 }], "2 > 1"),
            (|spec| spec.resources.memory_bytes = Some(1024), "memory"),
            (|spec| spec.resources.memory_swap_bytes = Some(1024), "Memory limit"),
            (|spec| spec.resources.nano_cpus = Some(-1), "CPUs"),
            (|spec| spec.resources.oom_score_adj = Some(1001), "oom score"),
            (|spec| spec.resources.cpu_period_us = Some(999), "cfs period"),
            (|spec| spec.resources.cpu_quota_us = Some(999), "cfs quota"),
            (
                |spec| {
                    spec.resources.cpu_realtime_period_us = Some(1);
                    spec.resources.cpu_realtime_runtime_us = Some(2);
                },
                "real-time runtime",
            ),
            (
                |spec| {
                    let path = "/dev/x".into();
                    spec.resources.blkio_weight_devices = vec![DeviceWeight { path, weight: 9 }];
                },
                "blkio weight",
            ),
        ];
        for (change, expected) in cases {
            let mut spec = ContainerSpec::default();
            change(&mut spec);
            let text = check(&spec).expect_err(expected).to_string();
            assert!(text.contains(expected), "{text} lacks {expected}");
        }
        assert_eq!(check(&ContainerSpec::default()).unwrap(), Vec::<String>::new());
    }
}
