//! `HostConfig` and the engine's specification, in both directions. Mounts and networks have files of their own.

use api::docker::host_config::{
    DeviceMapping, DeviceRequest as WireRequest, HostConfig, LogConfig, RestartPolicy as WireRestart,
    Ulimit as WireUlimit,
};
use engine::containers::spec::{
    CgroupNamespaceMode, DeviceRequest, DeviceSpec, IpcMode, LogSpec, PidMode, ResourceSpec, RestartPolicy,
    Ulimit, UtsMode,
};

use engine::containers::{Changes, ContainerSpec, oom_score_adj_out_of_range};

use super::{mounts, network, resources, security};
use crate::error::{Error, Result};

/// The one OCI runtime that there is, under the name that containerd's and Docker's clients know its kind by.
pub(crate) const RUNTIME: &str = "io.containerd.runc.v2";

/// Docker's default for `/dev/shm`, which inspect shows.
const DEFAULT_SHM_BYTES: i64 = 64 << 20;

/// Clients that name Docker's default runtime mean the default.
pub(crate) fn is_our_runtime(name: &str) -> bool {
    matches!(name, "" | "runc" | RUNTIME)
}

/// Reads what `create`'s table has not refused.
pub(crate) fn read(host: HostConfig, spec: &mut ContainerSpec) -> Result<()> {
    spec.auto_remove = host.auto_remove;
    spec.init = host.init.unwrap_or_default();
    spec.annotations = host.annotations.clone().unwrap_or_default();
    spec.restart = read_restart(&host.restart_policy)?;
    spec.pid = match host.pid_mode.as_str() {
        "" | "private" => PidMode::Private,
        "host" => PidMode::Host,
        mode => PidMode::Container(container_of(mode).ok_or_else(|| invalid_mode("PID", mode))?),
    };
    spec.ipc = match host.ipc_mode.as_str() {
        "" | "private" => IpcMode::Private,
        "shareable" => IpcMode::Shareable,
        "host" => IpcMode::Host,
        "none" => IpcMode::None,
        mode => IpcMode::Container(container_of(mode).ok_or_else(|| invalid_mode("IPC", mode))?),
    };
    spec.uts = match host.uts_mode.as_str() {
        "" => UtsMode::Private,
        "host" => UtsMode::Host,
        mode => return Err(invalid_mode("UTS", mode)),
    };
    spec.cgroup_namespace = match host.cgroupns_mode.as_str() {
        "" | "private" => CgroupNamespaceMode::Private,
        "host" => CgroupNamespaceMode::Host,
        mode => return Err(invalid_mode("cgroup namespace", mode)),
    };
    security::read(&host, spec)?;
    spec.log = LogSpec { driver: host.log_config.kind.clone(), options: host.log_config.config.clone() };
    spec.group_add = host.group_add.clone().unwrap_or_default();
    spec.readonly_rootfs = host.readonly_rootfs;
    spec.privileged = host.privileged;
    spec.cap_add = host.cap_add.clone().unwrap_or_default();
    spec.cap_drop = host.cap_drop.clone().unwrap_or_default();
    spec.sysctls = host.sysctls.clone().unwrap_or_default();
    spec.shm_size_bytes = match host.shm_size {
        0 => None,
        size => Some(u64::try_from(size).map_err(|_| Error::invalid("SHM size can not be less than 0"))?),
    };
    let ulimits = host.ulimits.iter().flatten();
    spec.ulimits = ulimits
        .map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
        .collect();
    spec.devices = host.devices.iter().flatten().map(read_device).collect();
    spec.device_requests = host.device_requests.iter().flatten().cloned().map(read_request).collect();
    spec.device_cgroup_rules = host.device_cgroup_rules.clone().unwrap_or_default();
    spec.cgroup_parent.clone_from(&host.cgroup_parent);
    spec.resources = read_resources(&host)?;
    Ok(())
}

/// What an update asks for: limits, and a policy if one is named.
pub(crate) fn read_changes(body: &HostConfig) -> Result<Changes> {
    super::create::refuse(&super::create::of_host(body))?;
    resources::check_changes(body)?;
    let restart = match body.restart_policy.name.as_str() {
        "" => None,
        _ => Some(read_restart(&body.restart_policy)?),
    };
    // Here a zero is an answer: no limit from now on.
    let resources = ResourceSpec { pids_limit: body.pids_limit, ..read_resources(body)? };
    Ok(Changes { resources, restart })
}

fn read_restart(policy: &WireRestart) -> Result<RestartPolicy> {
    let retries = policy.maximum_retry_count;
    let without_count = |read| match retries {
        0 => Ok(read),
        _ => Err(Error::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        )),
    };
    match policy.name.as_str() {
        "" | "no" => without_count(RestartPolicy::No),
        "always" => without_count(RestartPolicy::Always),
        "unless-stopped" => without_count(RestartPolicy::UnlessStopped),
        "on-failure" => match u32::try_from(retries) {
            Ok(max_retries) => Ok(RestartPolicy::OnFailure { max_retries }),
            Err(_) => Err(Error::invalid("invalid restart policy: maximum retry count cannot be negative")),
        },
        name => Err(Error::invalid(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

/// The container of `container:NAME`.
pub(crate) fn container_of(mode: &str) -> Option<String> {
    mode.strip_prefix("container:").filter(|name| !name.is_empty()).map(str::to_owned)
}

fn invalid_mode(namespace: &str, mode: &str) -> Error {
    Error::invalid(format!("invalid {namespace} mode: {mode}"))
}

fn read_device(device: &DeviceMapping) -> DeviceSpec {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    DeviceSpec {
        host_path: device.path_on_host.clone(),
        container_path: or(&device.path_in_container, &device.path_on_host),
        permissions: or(&device.cgroup_permissions, "rwm"),
    }
}

fn read_resources(host: &HostConfig) -> Result<ResourceSpec> {
    let set = |number: i64| Some(number).filter(|number| *number != 0);
    let unsigned = |name: &str, number: i64| {
        let number = set(number).map(u64::try_from).transpose();
        number.map_err(|_| Error::invalid(format!("invalid {name}: it cannot be negative")))
    };
    for (name, number) in [("Memory", host.memory), ("MemoryReservation", host.memory_reservation)] {
        unsigned(name, number)?;
    }
    if host.nano_cpus != 0 && host.cpu_period != 0 {
        return Err(Error::invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set."));
    }
    let mut resources = ResourceSpec {
        memory_bytes: set(host.memory),
        memory_swap_bytes: set(host.memory_swap),
        memory_reservation_bytes: set(host.memory_reservation),
        memory_swappiness: match host.memory_swappiness {
            None | Some(-1) => None,
            Some(swappiness) => Some(u64::try_from(swappiness).map_err(|_| {
                Error::invalid(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"))
            })?),
        },
        oom_kill_disable: host.oom_kill_disable.unwrap_or_default(),
        oom_score_adj: set(host.oom_score_adj)
            .map(i32::try_from)
            .transpose()
            .map_err(|_| Error::invalid(oom_score_adj_out_of_range(host.oom_score_adj)))?,
        nano_cpus: set(host.nano_cpus),
        cpu_shares: unsigned("CpuShares", host.cpu_shares)?,
        cpu_quota_us: set(host.cpu_quota),
        cpu_period_us: unsigned("CpuPeriod", host.cpu_period)?,
        cpu_realtime_runtime_us: set(host.cpu_realtime_runtime),
        cpu_realtime_period_us: unsigned("CpuRealtimePeriod", host.cpu_realtime_period)?,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        pids_limit: host.pids_limit.and_then(set),
        blkio_weight: Some(host.blkio_weight).filter(|weight| *weight != 0),
        ..ResourceSpec::default()
    };
    resources::read_block_io(host, &mut resources);
    Ok(resources)
}

/// `HostConfig` as inspect shows it.
pub(crate) fn describe(spec: &ContainerSpec) -> HostConfig {
    let list = |texts: &[String]| Some(texts.to_vec()).filter(|texts| !texts.is_empty());
    let (height, width) = spec.console_size.unwrap_or_default();
    let mut host = HostConfig {
        log_config: LogConfig { kind: spec.log.driver.clone(), config: spec.log.options.clone() },
        restart_policy: describe_restart(spec.restart),
        auto_remove: spec.auto_remove,
        init: spec.init.then_some(true),
        annotations: Some(spec.annotations.clone()).filter(|annotations| !annotations.is_empty()),
        console_size: [height.into(), width.into()],
        cap_add: list(&spec.cap_add),
        cap_drop: list(&spec.cap_drop),
        cgroupns_mode: match spec.cgroup_namespace {
            CgroupNamespaceMode::Private => "private".into(),
            CgroupNamespaceMode::Host => "host".into(),
        },
        group_add: list(&spec.group_add),
        ipc_mode: match &spec.ipc {
            IpcMode::Private => "private".into(),
            IpcMode::Shareable => "shareable".into(),
            IpcMode::Host => "host".into(),
            IpcMode::None => "none".into(),
            IpcMode::Container(id) => format!("container:{id}"),
        },
        pid_mode: match &spec.pid {
            PidMode::Private => String::new(),
            PidMode::Host => "host".into(),
            PidMode::Container(id) => format!("container:{id}"),
        },
        privileged: spec.privileged,
        readonly_rootfs: spec.readonly_rootfs,
        uts_mode: if spec.uts == UtsMode::Host { "host".into() } else { String::new() },
        shm_size: spec
            .shm_size_bytes
            .map_or(DEFAULT_SHM_BYTES, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        sysctls: Some(spec.sysctls.clone()).filter(|sysctls| !sysctls.is_empty()),
        runtime: RUNTIME.into(),
        devices: Some(spec.devices.iter().map(describe_device).collect()),
        device_requests: Some(spec.device_requests.iter().map(describe_request).collect())
            .filter(|requests: &Vec<_>| !requests.is_empty()),
        ulimits: Some(spec.ulimits.iter().map(describe_ulimit).collect())
            .filter(|limits: &Vec<_>| !limits.is_empty()),
        ..HostConfig::default()
    };
    describe_resources(&spec.resources, &mut host);
    security::describe(spec, &mut host);
    host.device_cgroup_rules = list(&spec.device_cgroup_rules);
    host.cgroup_parent.clone_from(&spec.cgroup_parent);
    mounts::describe(spec, &mut host);
    network::describe(spec, &mut host);
    host
}

fn describe_restart(policy: RestartPolicy) -> WireRestart {
    let (name, maximum_retry_count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.into()),
    };
    WireRestart { name: name.into(), maximum_retry_count }
}

fn read_request(request: WireRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver,
        count: request.count,
        ids: request.device_ids.unwrap_or_default(),
        capabilities: request.capabilities.unwrap_or_default(),
        options: request.options.unwrap_or_default(),
    }
}

fn describe_request(request: &DeviceRequest) -> WireRequest {
    let ids = &request.ids;
    WireRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: Some(ids.clone()).filter(|ids| !ids.is_empty()),
        capabilities: Some(request.capabilities.clone()).filter(|sets| !sets.is_empty()),
        options: Some(request.options.clone()).filter(|options| !options.is_empty()),
    }
}

fn describe_device(device: &DeviceSpec) -> DeviceMapping {
    DeviceMapping {
        path_on_host: device.host_path.clone(),
        path_in_container: device.container_path.clone(),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn describe_ulimit(limit: &Ulimit) -> WireUlimit {
    WireUlimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft }
}

fn describe_resources(resources: &ResourceSpec, host: &mut HostConfig) {
    let signed = |number: Option<u64>| number.map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX));
    host.memory = resources.memory_bytes.unwrap_or_default();
    // Without a word about swap there is as much of it as memory.
    host.memory_swap = resources.memory_swap_bytes.unwrap_or(host.memory.saturating_mul(2));
    host.memory_reservation = resources.memory_reservation_bytes.unwrap_or_default();
    host.memory_swappiness = resources.memory_swappiness.map(|swappiness| signed(Some(swappiness)));
    host.oom_kill_disable = Some(resources.oom_kill_disable);
    host.oom_score_adj = resources.oom_score_adj.unwrap_or_default().into();
    host.nano_cpus = resources.nano_cpus.unwrap_or_default();
    host.cpu_shares = signed(resources.cpu_shares);
    host.cpu_quota = resources.cpu_quota_us.unwrap_or_default();
    host.cpu_period = signed(resources.cpu_period_us);
    host.cpu_realtime_period = signed(resources.cpu_realtime_period_us);
    host.cpu_realtime_runtime = resources.cpu_realtime_runtime_us.unwrap_or_default();
    resources::describe_block_io(resources, host);
    host.cpuset_cpus.clone_from(&resources.cpuset_cpus);
    host.cpuset_mems.clone_from(&resources.cpuset_mems);
    host.pids_limit = resources.pids_limit;
    host.blkio_weight = resources.blkio_weight.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::{describe, read};
    use api::docker::host_config::HostConfig;
    use engine::containers::ContainerSpec;
    use serde_json::json;

    #[test]
    fn what_was_read_is_shown_and_read_again_the_same() {
        let host: HostConfig = serde_json::from_value(json!({
            "PidMode": "container:x", "IpcMode": "none", "UTSMode": "host", "CgroupnsMode": "host",
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "Memory": 7, "MemorySwap": -1, "OomScoreAdj": 5,
            "CpuShares": 3, "CpuQuota": 4, "CpuPeriod": 5, "CpusetCpus": "0", "CpusetMems": "1", "PidsLimit": -1, "BlkioWeight": 9,
            "SecurityOpt": ["no-new-privileges", "seccomp={}"], "UsernsMode": "host", "MaskedPaths": [], "ReadonlyPaths": [], "ConsoleSize": [1, 2],
            "CapAdd": ["ALL"], "CapDrop": ["CHOWN"], "GroupAdd": ["1"], "ReadonlyRootfs": true, "Privileged": true, "ShmSize": 99,
            "Sysctls": {"net.x": "1"}, "Ulimits": [{"Name": "core", "Soft": 0, "Hard": -1}],
            "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
            "DeviceRequests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["vendor.com/net=a"], "Capabilities": [["gpu"]], "Options": {"a": "b"}}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "5", "max-file": "2"}},
        }))
        .unwrap();
        let mut spec = ContainerSpec::default();
        read(host, &mut spec).unwrap();
        let mut again = ContainerSpec::default();
        read(describe(&spec), &mut again).unwrap();
        assert_eq!(spec, again);
        assert_ne!(spec, ContainerSpec::default());
    }
}
